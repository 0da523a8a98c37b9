//! The system's manager on the message bus, org.freedesktop.systemd1(5).
//!
//! The bus delivers to each caller only the signals of its own jobs. On its private socket, which systemctl(1) uses,
//! the manager sends every signal to every caller, so that a hundred services that roll at once would each receive all
//! of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use futures_lite::StreamExt;
use serde::Serialize;
use tokio::net::UnixStream;
use tokio::time::timeout;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::proxy::{self, CacheProperties, MethodFlags};
use zbus::zvariant::{DynamicDeserialize, DynamicType, OwnedObjectPath, OwnedValue};
use zbus::{Connection, MatchRule, MessageStream, Proxy};

use crate::systemd::failure::{Failure, Result};
use crate::systemd::job::Job;
use crate::systemd::unit::Listed;

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const SLICE: &str = "org.freedesktop.systemd1.Slice";
const TIMER: &str = "org.freedesktop.systemd1.Timer";
const JOB: &str = "org.freedesktop.systemd1.Job";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "/run/dbus/system_bus_socket";
/// The signal that no process can ignore, signal(7).
const SIGKILL: i32 = 9;
/// The time limit for the greeting of the bus, which may have stopped already at shutdown.
const GREETING: Duration = Duration::from_secs(2);
/// The time without a signal of a job after which its state is queried: a manager that re-executes forgets its
/// subscribers.
const LOOK: Duration = Duration::from_secs(1);
/// The largest number of units that get match rules of their own on the bus.
const FEW: usize = 8;
const QUEUE: usize = 4096;

/// The errors of the bus after the manager has left it or has not answered a call, org.freedesktop.DBus.Error.
const LEFT: [&str; 5] = ["NoReply", "ServiceUnknown", "NameHasNoOwner", "Disconnected", "TimedOut"];

impl From<zbus::Error> for Failure {
    fn from(error: zbus::Error) -> Self {
        let zbus::Error::MethodError(name, words, _) = error else { return Self::Gone(error.to_string()) };
        let words = words.unwrap_or_else(|| name.to_string());
        let has_left = name.strip_prefix("org.freedesktop.DBus.Error.").is_some_and(|name| LEFT.contains(&name));
        match name.strip_prefix("org.freedesktop.systemd1.") {
            _ if has_left => Self::Gone(words),
            Some("NoSuchUnit") => Self::NoSuchUnit(words),
            _ => Self::Refused(words),
        }
    }
}

/// Name, description, load, active and sub state, followed unit, object; a job's id, type and object.
type Row = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// Runs what is asked of the system's manager to its end; None if there is no bus.
pub(crate) fn ask<T>(asked: impl AsyncFn(&Bus) -> Result<T>) -> Option<Result<T>> {
    if !Path::new(BUS).exists() {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async { Some(asked(&Bus::open().await?).await) })
}

pub(crate) struct Bus(Connection);

impl Bus {
    async fn open() -> Option<Self> {
        // zbus would connect in a thread of its own.
        let greeting = async { Builder::unix_stream(UnixStream::connect(BUS).await?).build().await };
        timeout(GREETING, greeting).await.ok()?.ok().map(Self)
    }

    /// A manager that is not on the bus just now is not waited for.
    async fn call<B, R>(&self, path: &str, interface: &str, method: &str, body: &B) -> Result<R>
    where
        B: Serialize + DynamicType,
        R: for<'d> DynamicDeserialize<'d>,
    {
        let proxy = proxy::Builder::<Proxy>::new(&self.0).destination(NAME)?.path(path)?.interface(interface)?;
        let proxy = proxy.cache_properties(CacheProperties::No).build().await?;
        let answer = proxy.call_with_flags(method, MethodFlags::NoAutoStart.into(), body).await?;
        answer.ok_or_else(|| Failure::Gone(format!("{method} has no answer")))
    }

    async fn ask<B, R>(&self, method: &str, body: &B) -> Result<R>
    where
        B: Serialize + DynamicType,
        R: for<'d> DynamicDeserialize<'d>,
    {
        self.call(PATH, MANAGER, method, body).await
    }

    /// Runs the generators and loads all units again.
    pub(crate) async fn reload(&self) -> Result<()> {
        self.ask("Reload", &()).await
    }

    /// Forgets that a unit failed.
    pub(crate) async fn reset_failed(&self, unit: &str) -> Result<()> {
        self.ask("ResetFailedUnit", &(unit)).await
    }

    /// Kills all processes of a unit by SIGKILL.
    pub(crate) async fn kill(&self, unit: &str) -> Result<()> {
        self.ask("KillUnit", &(unit, "all", SIGKILL)).await
    }

    /// Removes the `RuntimeDirectory=` of a unit that has stopped.
    pub(crate) async fn clean_runtime(&self, unit: &str) -> Result<()> {
        self.ask("CleanUnit", &(unit, ["runtime"].as_slice())).await
    }

    /// The units in memory whose names match.
    pub(crate) async fn list(&self, patterns: &[&str]) -> Result<Vec<Listed>> {
        let no_states: &[&str] = &[];
        Ok(listed(self.ask("ListUnitsByPatterns", &(no_states, patterns)).await?))
    }

    /// These units, in their order; what is not in memory is inactive.
    pub(crate) async fn list_named(&self, units: &[String]) -> Result<Vec<Listed>> {
        let listed = listed(self.ask("ListUnitsByNames", &(units)).await?);
        let states: BTreeMap<_, _> = listed.into_iter().map(|one| (one.unit, one.state)).collect();
        let state = |unit: &String| states.get(unit).cloned().unwrap_or_else(|| "inactive".to_owned());
        Ok(units.iter().map(|unit| Listed { unit: unit.clone(), state: state(unit) }).collect())
    }

    async fn unit(&self, unit: &str) -> Result<OwnedObjectPath> {
        self.ask("LoadUnit", &(unit)).await
    }

    async fn property(&self, path: &str, interface: &str, name: &str) -> Result<OwnedValue> {
        self.call(path, PROPERTIES, "Get", &(interface, name)).await
    }

    /// Properties of a unit as `systemctl show` writes them; a unit that is not loaded has them too.
    pub(crate) async fn show(&self, unit: &str, properties: &[&str]) -> Result<BTreeMap<String, String>> {
        let path = self.unit(unit).await?;
        let mut shown = BTreeMap::new();
        for name in properties {
            let of_any = ["ActiveState", "DropInPaths", "InvocationID", "Job", "LoadState", "SubState"].contains(name);
            let interface = match unit {
                _ if of_any => UNIT,
                unit if unit.ends_with(".slice") => SLICE,
                unit if unit.ends_with(".timer") => TIMER,
                _ => SERVICE,
            };
            shown.insert((*name).to_owned(), text(&self.property(&path, interface, name).await?));
        }
        Ok(shown)
    }

    pub(crate) async fn show_each(
        &self,
        units: &[String],
        properties: &[&str],
    ) -> Result<Vec<BTreeMap<String, String>>> {
        let mut shown = Vec::with_capacity(units.len());
        for unit in units {
            shown.push(self.show(unit, properties).await?);
        }
        Ok(shown)
    }

    /// The job that a unit has.
    async fn job(&self, unit: &str) -> Result<Option<OwnedObjectPath>> {
        let path = self.unit(unit).await?;
        let job = self.property(&path, UNIT, "Job").await?;
        let job = <(u32, OwnedObjectPath)>::try_from(job).ok();
        Ok(job.filter(|(id, _)| *id != 0).map(|(_, path)| path))
    }

    /// Returns whether the unit's job, if it has one, is to stop it.
    pub(crate) async fn is_to_stop(&self, unit: &str) -> Result<bool> {
        let Some(path) = self.job(unit).await? else { return Ok(false) };
        match self.property(&path, JOB, "JobType").await {
            // It has just ended.
            Err(Failure::Refused(_) | Failure::NoSuchUnit(_)) => Ok(false),
            kind => Ok(text(&kind?) == "stop"),
        }
    }

    /// Asks for a job and does not wait for it.
    pub(crate) async fn enqueue(&self, job: Job, unit: &str) -> Result<()> {
        let _: OwnedObjectPath = self.ask(job.method(), &(unit, job.mode())).await?;
        Ok(())
    }

    /// Has jobs done and waits until they are; those that were not, and why.
    pub(crate) async fn run(&self, job: Job, units: &[String]) -> Result<Vec<String>> {
        let mut ends = self.ends(units).await?;
        let (mut jobs, mut failed) = (BTreeMap::new(), Vec::new());
        for unit in units {
            match self.ask::<_, OwnedObjectPath>(job.method(), &(unit, job.mode())).await {
                Ok(path) => drop(jobs.insert(path.to_string(), unit)),
                // What is not there has stopped.
                Err(Failure::NoSuchUnit(_)) if job == Job::Stop => {}
                Err(Failure::Refused(words) | Failure::NoSuchUnit(words)) => failed.push(words),
                Err(gone @ Failure::Gone(_)) => return Err(gone),
            }
        }
        while !jobs.is_empty() && (failed.is_empty() || job != Job::StartTogether) {
            match timeout(LOOK, ends.next()).await {
                Ok(Some(end)) => {
                    let Ok((_, path, _, result)) = end?.body().deserialize::<(u32, OwnedObjectPath, String, String)>()
                    else {
                        continue;
                    };
                    let Some(unit) = jobs.remove(path.as_str()) else { continue };
                    if let Some(why) = explained(job, unit, &result)
                        && !(result == "canceled" && job == Job::Stop && self.is_at_rest(unit).await?)
                    {
                        failed.push(why);
                    }
                }
                Ok(None) => return Err(Failure::Gone("systemd has closed the connection".to_owned())),
                Err(_) => self.look_after(job, &mut jobs, &mut failed).await?,
            }
        }
        Ok(failed)
    }

    /// The ends of jobs of these units.
    async fn ends(&self, units: &[String]) -> Result<Ends> {
        let mut streams = Vec::new();
        let all = [None];
        let each: Vec<_> = units.iter().map(Some).collect();
        for unit in if units.len() > FEW { &all[..] } else { &each } {
            let rule = MatchRule::builder().msg_type(Type::Signal).interface(MANAGER)?.member("JobRemoved")?;
            let rule = if let Some(unit) = unit { rule.arg(2, unit.as_str())? } else { rule };
            streams.push(MessageStream::for_match_rule(rule.build(), &self.0, Some(QUEUE)).await?);
        }
        Ok(Ends(streams))
    }

    /// Finds jobs that ended without a signal; the state of their units shows the result.
    async fn look_after(&self, job: Job, jobs: &mut BTreeMap<String, &String>, failed: &mut Vec<String>) -> Result<()> {
        for path in jobs.keys().cloned().collect::<Vec<_>>() {
            match self.property(&path, JOB, "State").await {
                Ok(_) => continue,
                Err(gone @ Failure::Gone(_)) => return Err(gone),
                Err(Failure::Refused(_) | Failure::NoSuchUnit(_)) => {}
            }
            let Some(unit) = jobs.remove(&path) else { continue };
            if !self.is_done(job, unit).await? {
                failed.extend(explained(job, unit, "failed"));
            }
        }
        Ok(())
    }

    /// Returns whether a unit has stopped and has no job.
    async fn is_at_rest(&self, unit: &str) -> Result<bool> {
        Ok(self.is_done(Job::Stop, unit).await? && self.job(unit).await?.is_none())
    }

    /// Returns whether a unit is in the state that a job leads to.
    async fn is_done(&self, job: Job, unit: &str) -> Result<bool> {
        let path = self.unit(unit).await?;
        let state = text(&self.property(&path, UNIT, "ActiveState").await?);
        let is_up = matches!(state.as_str(), "active" | "reloading");
        match job {
            Job::Start | Job::StartTogether | Job::StartNow | Job::TryRestart => Ok(is_up),
            Job::Stop => Ok(!is_up && state != "activating"),
            Job::Reload | Job::ReloadOrRestart | Job::TryReloadOrRestart if !is_up => Ok(false),
            Job::Reload | Job::ReloadOrRestart | Job::TryReloadOrRestart => {
                let result = self.property(&path, SERVICE, "ReloadResult").await?;
                Ok(text(&result) == "success")
            }
        }
    }
}

/// The signals of several match rules, in order of arrival.
struct Ends(Vec<MessageStream>);

impl Ends {
    fn next(&mut self) -> impl Future<Output = Option<zbus::Result<zbus::Message>>> {
        std::future::poll_fn(|context| {
            self.0
                .iter_mut()
                .map(|stream| stream.poll_next(context))
                .find(std::task::Poll::is_ready)
                .unwrap_or(std::task::Poll::Pending)
        })
    }
}

fn listed(rows: Vec<Row>) -> Vec<Listed> {
    rows.into_iter().map(|row| Listed { unit: row.0, state: row.3 }).collect()
}

/// Converts a property's value to text; a job becomes its number.
fn text(value: &OwnedValue) -> String {
    use zbus::zvariant::{Signature, Value};
    match &**value {
        Value::Str(text) => text.to_string(),
        Value::Bool(truth) => if *truth { "yes" } else { "no" }.to_owned(),
        Value::I32(number) => number.to_string(),
        Value::U32(number) => number.to_string(),
        Value::U64(number) => number.to_string(),
        Value::Array(items) if items.element_signature() == &Signature::U8 => {
            let bytes = items.iter().filter_map(|item| u8::try_from(item).ok());
            bytes.map(|byte| format!("{byte:02x}")).collect()
        }
        Value::Array(items) => {
            let texts = items.iter().filter_map(|item| <&str>::try_from(item).ok());
            texts.collect::<Vec<_>>().join(" ")
        }
        Value::Structure(fields) => match fields.fields().first() {
            Some(Value::U32(number)) => number.to_string(),
            _ => String::new(),
        },
        _ => String::new(),
    }
}

/// Describes the result of a job that failed, `JobRemoved` of org.freedesktop.systemd1(5).
fn explained(job: Job, unit: &str, result: &str) -> Option<String> {
    let words = match result {
        "done" | "skipped" => return None,
        "canceled" => "another job replaced it",
        "timeout" => "it took too long",
        "dependency" => "a unit that it needs failed",
        other => other,
    };
    Some(format!("{unit} did not {}: {words}", job.verb()))
}
