//! Whether a proxy that reloads in the background has loaded what is published.
//!
//! nginx and HAProxy say of a reload only that it was asked for. Their main process keeps its ID and starts other workers:
//! new ones are there once the configuration is loaded. HAProxy's may fail after they have started, so that it is also
//! asked for the mark of its configuration.

use fs_err as fs;
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::driver::Driver;
use super::published::{self, Files};

/// Time for new workers: nginx tries to bind a port for 2.5 s.
const TIMEOUT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);
/// The time limit of one question for the mark.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// The mark must be the answer so often, one after another: an old worker may still accept.
const AGREEING: u32 = 3;
const HTTP: u16 = 80;

/// Lists the workers of a main process.
pub(crate) fn workers(main: u32) -> BTreeSet<u32> {
    let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(|pid| is_worker(*pid)).collect()
}

/// Returns whether a process takes requests: nginx has others, and names those that end.
fn is_worker(pid: u32) -> bool {
    let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let title = String::from_utf8_lossy(&title);
    !title.is_empty()
        && (!title.starts_with("nginx:") || title.trim_end_matches(['\0', ' ']).ends_with("worker process"))
}

/// Waits until the workers of a main process have loaded files; `before` are the workers before the reload.
///
/// # Errors
/// If they have not in time.
pub(crate) fn wait(driver: Driver, main: u32, before: &BTreeSet<u32>, files: &Files) -> io::Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    let mut agreeing = 0;
    loop {
        let now = workers(main);
        // nginx's old workers end, or are named so, before they take no connection any more.
        let is_new = now.difference(before).next().is_some() && (driver != Driver::Nginx || now.is_disjoint(before));
        agreeing = if is_new && has_mark(driver, files) { agreeing + 1 } else { 0 };
        if agreeing == AGREEING {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("{} has not loaded its configuration", driver.title())));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Returns whether the proxy answers with the mark of files; true if they have none.
fn has_mark(driver: Driver, files: &Files) -> bool {
    // Without a site nobody listens.
    let mut marked =
        published::texts(files).filter(|text| text.contains("frontend ")).filter_map(|text| driver.mark(text));
    match marked.next() {
        None => true,
        Some((host, mark)) => ask(host).is_ok_and(|answer| answer.ends_with(mark)),
    }
}

fn ask(host: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP)), ANSWER_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer)
}
