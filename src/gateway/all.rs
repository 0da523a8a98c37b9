//! `conductor cgi serve` without an ID: serves every declared pooled function whose socket systemd does not have.
//!
//! Programs run as the calling user, without a sandbox. It is for machines without systemd, and for trying things out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use crate::atomic;
use crate::compile::functions::load_stored_function;
use crate::gateway::function::{Gateway, Runner};
use crate::gateway::limits::POLL_INTERVAL;
use crate::gateway::listener::bind;
use crate::gateway::process::Children;
use crate::gateway::server::{Server, Termination, runtime};
use crate::layout::Layout;
use crate::log::{self, note};
use crate::model::function::{Compiled, Mode};
use crate::names::FunctionId;
use crate::source::functions;

/// Serves functions until a signal ends it, and follows within a second which ones are declared. `has_socket` returns for each
/// function whether systemd has its socket.
///
/// # Errors
/// Why no function can be served.
pub(crate) fn run(
    layout: &Layout,
    has_socket: impl Fn(&[FunctionId]) -> Vec<bool> + Send + Sync + 'static,
) -> Result<(), String> {
    functions::find(layout).map_err(|error| format!("{}\n  help: {}", error.headline(), error.remedy()))?;
    let has_socket = Arc::new(has_socket);
    runtime(None)?.block_on(async {
        let failed = |error: io::Error| error.to_string();
        let children = Children::adopt(None).map_err(failed)?;
        let mut all = All { layout, children, served: BTreeMap::new(), reported: BTreeSet::new() };
        let mut termination = Termination::watch().map_err(failed)?;
        loop {
            // Of what cannot be listed nothing changes.
            let Ok(found) = functions::find(layout) else {
                sleep(POLL_INTERVAL).await;
                continue;
            };
            let (ids, has_socket) = (found.keys().cloned().collect::<Vec<_>>(), has_socket.clone());
            let flags = spawn_blocking(move || has_socket(&ids)).await.map_err(|error| error.to_string())?;
            let of_systemd = found.keys().zip(flags).filter(|(_, flag)| *flag).map(|(id, _)| id.clone()).collect();
            all.follow(&found, &of_systemd).await;
            tokio::select! {
                () = sleep(POLL_INTERVAL) => {}
                () = termination.received() => break,
            }
        }
        for id in all.served.keys().cloned().collect::<Vec<_>>() {
            all.stop(&id, true).await;
        }
        Ok(())
    })
}

/// A function that this process serves.
struct Served {
    server: Arc<Server>,
    accepting: JoinHandle<()>,
    socket: Utf8PathBuf,
}

struct All<'a> {
    layout: &'a Layout,
    children: Arc<Children>,
    served: BTreeMap<FunctionId, Served>,
    /// Functions that are not served, and whose reason was printed.
    reported: BTreeSet<FunctionId>,
}

impl All<'_> {
    /// Starts and stops functions until those served are all of `found` but those `of_systemd`.
    async fn follow(&mut self, found: &BTreeMap<FunctionId, Utf8PathBuf>, of_systemd: &BTreeSet<FunctionId>) {
        for id in self.served.keys().cloned().collect::<Vec<_>>() {
            let is_of_systemd = of_systemd.contains(&id);
            if !found.contains_key(&id) || is_of_systemd {
                note!("{id}: stopped serving");
                self.stop(&id, !is_of_systemd).await;
            }
        }
        self.reported.retain(|id| found.contains_key(id));
        for (id, dir) in found.iter().filter(|(id, _)| !self.served.contains_key(id)).collect::<Vec<_>>() {
            let outcome =
                if of_systemd.contains(id) { Err("systemd has its socket".to_owned()) } else { self.start(id, dir) };
            match outcome {
                Ok(name) => {
                    self.reported.remove(id);
                    note!("{id}: serving {name:?}");
                }
                Err(reason) if self.reported.insert(id.clone()) => {
                    log::failure(log::Failure::Function, &format!("{id}: not serving: {reason}"));
                }
                Err(_) => {}
            }
        }
        self.served.values().for_each(|served| served.server.gateway.tend());
    }

    /// Returns the function's name.
    fn start(&mut self, id: &FunctionId, dir: &Utf8Path) -> Result<String, String> {
        let compiled = load_stored_function(self.layout, id, dir, None).map_err(|errors| errors.to_string())?;
        if compiled.function.mode == Mode::Isolated {
            return Err("only systemd runs isolated functions".to_owned());
        }
        if compiled.function.process.engine.is_privileged() {
            return Err("only systemd runs functions in containers".to_owned());
        }
        let compiled = Compiled { dir: self.layout.at(dir), ..compiled };
        let socket = self.layout.at(&self.layout.function_socket(id, compiled.function.address));
        let listener = bind(&socket)?;
        let gateway = Gateway::new(&compiled, self.children.clone(), Runner::Host)?;
        let server = Server::new(gateway, listener, compiled.function.max_concurrency);
        let server = Arc::new(server.map_err(|error| error.to_string())?);
        let accepting = server.clone();
        let accepting = tokio::spawn(async move { match accepting.accept().await {} });
        self.served.insert(id.clone(), Served { server, accepting, socket });
        Ok(compiled.function.name)
    }

    /// Stops a function after its requests in flight. Removes its socket unless another process has bound it anew.
    async fn stop(&mut self, id: &FunctionId, has_own_socket: bool) {
        let Some(Served { server, accepting, socket }) = self.served.remove(id) else { return };
        if has_own_socket {
            let _ = atomic::remove_file(&socket);
        }
        accepting.abort();
        server.accept_rest().await;
        server.finish().await;
    }
}
