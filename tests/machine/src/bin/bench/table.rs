//! The table of figures that is printed in the end.

use conductor_machine::figure::verdict;

/// Rows of figure, ours, theirs, ratio, what is required, and whether that holds.
#[derive(Default)]
pub(crate) struct Table(Vec<[String; 6]>);

impl Table {
    /// Adds two times in milliseconds. With a limit, ours may be at most so many times theirs.
    pub(crate) fn compare(&mut self, figure: &str, ours: f64, theirs: f64, limit: impl Into<Option<f64>>) {
        let ratio = ours / theirs;
        let (required, holds) = match limit.into() {
            Some(limit) => (format!("at most {limit:.2}"), verdict(ratio <= limit)),
            None => Default::default(),
        };
        let (ours, theirs) = (format!("{ours:.1} ms"), format!("{theirs:.1} ms"));
        self.add([figure.into(), ours, theirs, format!("{ratio:.2}"), required, holds.into()]);
    }

    /// Adds a share of one processor, which may be at most so large.
    pub(crate) fn share(&mut self, figure: &str, share: f64, limit: f64) {
        let holds = verdict(share <= limit).to_owned();
        let (share, required) = (format!("{share:.2} cores"), format!("at most {limit:.2}"));
        self.add([figure.into(), share, String::new(), String::new(), required, holds]);
    }

    /// Adds a peak of memory, which may be at most so many MiB.
    pub(crate) fn memory(&mut self, figure: &str, mib: f64, limit: f64) {
        let holds = verdict(mib <= limit).to_owned();
        let (mib, required) = (format!("{mib:.1} MiB"), format!("at most {limit:.0} MiB"));
        self.add([figure.into(), mib, String::new(), String::new(), required, holds]);
    }

    /// Adds a number of failures, of which there may be none.
    pub(crate) fn count(&mut self, figure: &str, failed: u64, of: u64) {
        let holds = verdict(failed == 0).to_owned();
        self.add([figure.into(), failed.to_string(), format!("of {of}"), String::new(), "0".to_owned(), holds]);
    }

    /// Adds a row and shows it: a whole run takes long.
    fn add(&mut self, row: [String; 6]) {
        eprintln!("{}", row.join("  ").trim_end());
        self.0.push(row);
    }

    pub(crate) fn print(&self) {
        let width = self.0.iter().map(|row| row[0].len()).max().unwrap_or_default();
        let line = |[figure, ours, theirs, ratio, required, verdict]: &[String; 6]| {
            println!("{figure:width$} {ours:>10} {theirs:>10} {ratio:>6}  {required:16} {verdict}");
        };
        line(&["figure", "ours", "theirs", "ratio", "required", ""].map(str::to_owned));
        self.0.iter().for_each(line);
    }
}
