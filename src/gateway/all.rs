//! `conductor cgi serve` without an ID: every declared pooled function that nobody else serves, for as long as it is so.
//!
//! Programs run as whoever calls this, without a sandbox: it is for machines without systemd, and for trying things out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use camino::Utf8PathBuf;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use crate::compile::functions::load_stored_function;
use crate::gateway::function::{Gateway, Runner};
use crate::gateway::process::Children;
use crate::gateway::{Server, TICK, bind, runtime};
use crate::layout::Layout;
use crate::model::function::{Compiled, Mode};
use crate::names::FunctionId;
use crate::source::functions;

/// A function that is served here.
struct Served {
    server: Arc<Server>,
    accepting: JoinHandle<()>,
}

/// Serves until told to stop. `systemds` says of functions whether systemd has their sockets.
///
/// # Errors
/// Why nothing can be served at all.
pub fn run(
    layout: &Layout,
    systemds: impl Fn(&[FunctionId]) -> Vec<bool> + Send + Sync + 'static,
) -> Result<(), String> {
    let systemds = Arc::new(systemds);
    runtime(None)?.block_on(async {
        let failed = |error: io::Error| error.to_string();
        let mut all = All {
            layout,
            children: Children::adopt().map_err(failed)?,
            served: BTreeMap::new(),
            told: BTreeSet::new(),
        };
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        loop {
            let found = functions::find(layout);
            let (ids, asked) = (found.keys().cloned().collect::<Vec<_>>(), systemds.clone());
            let left = spawn_blocking(move || asked(&ids)).await.map_err(|error| error.to_string())?;
            let left: BTreeSet<FunctionId> =
                found.keys().zip(left).filter(|(_, left)| *left).map(|(id, _)| id.clone()).collect();
            all.follow(&found, &left).await;
            tokio::select! {
                () = sleep(TICK) => {}
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        for id in all.served.keys().cloned().collect::<Vec<_>>() {
            all.stop(&id, true).await;
        }
        Ok(())
    })
}

struct All<'a> {
    layout: &'a Layout,
    children: Arc<Children>,
    served: BTreeMap<FunctionId, Served>,
    /// Those of which it was said why they are not served.
    told: BTreeSet<FunctionId>,
}

impl All<'_> {
    async fn follow(&mut self, found: &BTreeMap<FunctionId, Utf8PathBuf>, left: &BTreeSet<FunctionId>) {
        for id in self.served.keys().cloned().collect::<Vec<_>>() {
            if !found.contains_key(&id) || left.contains(&id) {
                eprintln!("{id}: not served any more");
                self.stop(&id, !left.contains(&id)).await;
            }
        }
        self.told.retain(|id| found.contains_key(id));
        for (id, dir) in found.iter().filter(|(id, _)| !self.served.contains_key(id)).collect::<Vec<_>>() {
            let outcome =
                if left.contains(id) { Err("systemd has its socket".to_owned()) } else { self.start(id, dir) };
            match outcome {
                Ok(name) => {
                    self.told.remove(id);
                    eprintln!("{id}: served, {name:?}");
                }
                Err(why) if self.told.insert(id.clone()) => eprintln!("{id}: not served: {why}"),
                Err(_) => {}
            }
        }
        self.served.values().for_each(|served| served.server.gateway.tend());
    }

    fn start(&mut self, id: &FunctionId, dir: &Utf8PathBuf) -> Result<String, String> {
        let compiled = load_stored_function(self.layout, id, dir, None).map_err(|errors| errors.to_string())?;
        if compiled.function.mode == Mode::Isolated {
            return Err("an isolated function is systemd's alone".to_owned());
        }
        if compiled.function.process.engine.is_podman() {
            return Err("a function's container is systemd's alone".to_owned());
        }
        let name = compiled.function.name.clone();
        let listener = bind(&self.layout.at(&self.layout.function_sockets()), id)?;
        let gateway =
            Gateway::new(Compiled { dir: self.layout.at(dir), ..compiled }, self.children.clone(), Runner::Own)?;
        let server = Arc::new(Server::new(gateway, listener).map_err(|error| error.to_string())?);
        let accepting = server.clone();
        let accepting = tokio::spawn(async move { match accepting.accept().await {} });
        self.served.insert(id.clone(), Served { server, accepting });
        Ok(name)
    }

    /// Finishes what is in flight; the socket's name goes, if it is still ours.
    async fn stop(&mut self, id: &FunctionId, is_ours: bool) {
        let Some(Served { server, accepting }) = self.served.remove(id) else { return };
        if is_ours {
            let _ = crate::atomic::remove_file(&self.layout.at(&self.layout.function_sockets()).join(id.as_str()));
        }
        accepting.abort();
        server.accept_rest().await;
        server.finish().await;
    }
}
