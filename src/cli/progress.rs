//! Progress of services while a command waits: `StatusText=` of their units, which the hooks write. On a terminal each
//! service has one line that is updated, elsewhere each change is a line of standard error.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::log::note;
use crate::names::ServiceName;
use crate::systemd::Manager;

/// The time between two looks at the units.
const ON_TERMINAL: Duration = Duration::from_millis(100);
const ELSEWHERE: Duration = Duration::from_millis(500);
/// How many services are shown at once: more do not fit a terminal, and each is a request to systemd.
const MOST: usize = 16;

/// Runs `work` and shows the status of services meanwhile.
pub(crate) fn during<T>(manager: Manager, names: &[ServiceName], work: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        let (working, is_over) = mpsc::channel();
        scope.spawn(move || watch(manager, names, &is_over));
        let result = work();
        drop::<mpsc::Sender<()>>(working);
        result
    })
}

fn watch(manager: Manager, names: &[ServiceName], is_over: &Receiver<()>) {
    let mut display = Display::new();
    let every = if display.bars.is_some() { ON_TERMINAL } else { ELSEWHERE };
    let mut shown: BTreeMap<&ServiceName, String> = BTreeMap::new();
    let units: Vec<_> = names.iter().map(ServiceName::unit).collect();
    while is_over.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        let states = manager.states(&units).unwrap_or_default();
        // The status text of an idle unit is that of its last job.
        let is_busy = |state: &str| matches!(state, "activating" | "reloading" | "deactivating");
        let busy = names.iter().zip(&units).zip(states).filter(|(_, state)| is_busy(state));
        for ((name, unit), _) in busy.take(MOST) {
            let text = manager.property(unit, "StatusText").unwrap_or_default();
            if !text.is_empty() && shown.get(name) != Some(&text) {
                display.show(name, &text);
                shown.insert(name, text);
            }
        }
    }
    display.clear();
}

struct Display<'a> {
    /// None without a terminal.
    bars: Option<MultiProgress>,
    lines: BTreeMap<&'a ServiceName, ProgressBar>,
}

impl<'a> Display<'a> {
    fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { bars, lines: BTreeMap::new() }
    }

    fn show(&mut self, name: &'a ServiceName, text: &str) {
        let Some(bars) = &self.bars else {
            note!("{name}: {text}");
            return;
        };
        let line = self.lines.entry(name).or_insert_with(|| {
            let style = ProgressStyle::with_template("{spinner} {prefix}: {wide_msg} {elapsed}");
            let line = bars.add(ProgressBar::new_spinner().with_prefix(name.to_string()));
            line.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            line.enable_steady_tick(ON_TERMINAL);
            line
        });
        line.reset_elapsed();
        line.set_message(text.to_owned());
    }

    fn clear(self) {
        self.lines.values().for_each(ProgressBar::finish_and_clear);
    }
}
