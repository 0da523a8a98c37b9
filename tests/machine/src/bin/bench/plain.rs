//! Plain units: those of a service without conductor's hooks, twice, as two generations that take turns.

use conductor_machine::machine::Machine;

/// The app is copied, because conductor keeps a generation's files only for a while.
const SCRIPT: &str = r#"
generated=/run/systemd/generator
id=$(ls $generated | sed -n 's/^SERVICE-\([0-9a-f]*\)@\.socket$/\1/p')
cp -r /var/lib/conductor/generations/SERVICE/$id/files /usr/local/lib/plain
for one in plain-a plain-b; do
    for kind in service socket; do
        sed -e '/^Exec.*conductor deployment/d' -e '/^PartOf=/d' -e "s|/run/conductor/sockets/SERVICE-$id|/run/$one|" \
            -e "s|/var/lib/conductor/generations/SERVICE/$id/files|/usr/local/lib/plain|" -e "s|SERVICE-$id|$one|" \
            $generated/SERVICE-$id@.$kind >/run/systemd/system/$one@.$kind
    done
done
systemctl daemon-reload
"#;

/// Writes plain units like those of a service, and starts so many of the first generation.
pub(crate) fn start(machine: &Machine, service: &str, count: usize) {
    machine.run(&SCRIPT.replace("SERVICE", service));
    machine.run(&format!("systemctl start {}", units("a", "service", count)));
}

/// The units of one generation.
pub(crate) fn units(side: &str, kind: &str, count: usize) -> String {
    (1..=count).map(|number| format!("plain-{side}@{number}.{kind}")).collect::<Vec<_>>().join(" ")
}

/// The generations that leave and come in the update to a version, of which the first is 1.
pub(crate) fn sides(version: usize) -> (&'static str, &'static str) {
    if version % 2 == 1 { ("a", "b") } else { ("b", "a") }
}
