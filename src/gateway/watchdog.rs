//! Reports to systemd's watchdog that the gateway still acts, `WatchdogSec=` of systemd.service(5): a program of the function
//! has the gateway's user and can stop it with a signal.

use std::env;
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::time::sleep;

/// Starts the task that reports, if systemd expects reports of this process. Needs a tokio runtime.
pub(crate) fn start() {
    let Some(limit) = limit() else { return };
    let (Some(path), Ok(socket)) = (env::var_os("NOTIFY_SOCKET"), UnixDatagram::unbound()) else { return };
    tokio::spawn(async move {
        loop {
            // Without an answer in time systemd ends this process: nothing else can be done about an error.
            let _ = socket.send_to(b"WATCHDOG=1", &path).await;
            sleep(limit / 4).await;
        }
    });
}

/// Returns the time within which systemd expects a report, sd_watchdog_enabled(3).
fn limit() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
    let is_for_this = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|_| is_for_this).map(Duration::from_micros)
}
