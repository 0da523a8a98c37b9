//! A directive: its section, its name, the version that added it, and the type of its value.

/// A section of a unit file that takes directives of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    Unit,
    /// With what systemd.exec(5), systemd.kill(5) and systemd.resource-control(5) add to it.
    Service,
    /// With what systemd.exec(5), systemd.kill(5) and systemd.resource-control(5) add to it.
    Socket,
    /// With what systemd.resource-control(5) adds to it.
    Slice,
}

impl Section {
    /// Every section.
    pub(crate) const ALL: [Section; 4] = [Section::Unit, Section::Service, Section::Socket, Section::Slice];

    /// Returns the section's name as it stands between brackets.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Section::Unit => "Unit",
            Section::Service => "Service",
            Section::Socket => "Socket",
            Section::Slice => "Slice",
        }
    }
}

/// A key that a section takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Directive {
    pub name: &'static str,
    /// The version of systemd that added it; 0 for 252 or older.
    pub(crate) since: u16,
    pub(crate) kind: Kind,
}

/// Describes a directive in one line of the table.
pub(crate) const fn directive(name: &'static str, since: u16, kind: Kind) -> Directive {
    Directive { name, since, kind }
}

/// Words that systemd takes literally. In [`Kind::Enum`], one that ends in `:` or `/` is a prefix.
pub(crate) type Words = &'static [&'static str];

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not modelled: everything is accepted.
    Any,
    Boolean,
    BooleanOr(Words),
    Enum(Words),
    /// An integer between two bounds, both included, or a word.
    Number(i64, i64, Words),
    /// A time span, systemd.time(7), in seconds if it has no unit.
    Seconds,
    /// A time span in nanoseconds if it has no unit.
    Nanoseconds,
    /// Octal access mode.
    Mode,
    /// setrlimit(2): `soft:hard`, or one for both.
    Limit(Unit),
    /// Bytes with K, M, G, T, P, E to the base of 1024.
    Size,
    /// As `Size`, a part of the machine's memory in percent, or infinity; at least so many bytes.
    Bytes(u64),
    /// A number of tasks, a part of the system's limit in percent, or infinity.
    Tasks,
    /// Percent of one CPU: more than 0, may be more than 100.
    Quota,
    /// 0% to 100%.
    Percent,
    Signal,
    /// Absolute, without `..`.
    Path,
}

/// The unit of a [`Kind::Limit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Number,
    Bytes,
    /// Time spans; whole seconds.
    Seconds,
    /// Time spans, in microseconds if they have no unit.
    Microseconds,
    /// A nice level with its sign, or 0 to 40.
    Nice,
}
