//! Release hooks as Jobs; commands and jobs as CronJobs.

use sha2::{Digest, Sha256};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::model::{Job, Overlap, RunCommand};
use crate::names::hex;
use crate::source::DECLARATION;
use crate::target::kubernetes::names::DIGITS;
use crate::target::kubernetes::options::Version;
use crate::target::kubernetes::workload::Workload;
use crate::target::kubernetes::yaml::{self, Yaml, map};
use crate::target::kubernetes::{cron, deployment};

/// The version that has CronJobs in `batch/v1`.
const STABLE: Version = Version(21);
/// How late a job may start that is not to be made up for, in seconds.
const LATE: u64 = 60;
/// The longest name of a CronJob: its Jobs add 11 characters to it, and those of Jobs are labels.
const LONGEST: usize = 52;

/// Renders the Job of `hooks.release`. Its name has a digest of its pod, the generation included: it runs once for each
/// generation and image, and no Job is changed, which Kubernetes refuses.
pub(super) fn release(workload: &Workload) -> Result<Vec<Yaml>, Diagnostics> {
    let Some(hook) = &workload.service.hooks.release else { return Ok(Vec::new()) };
    let pod = pod(workload, "release", &hook.command);
    let digest = hex(&Sha256::digest(yaml::write([&pod])));
    let name = format!("{}-release-{}", workload.name, &digest[..DIGITS]);
    Ok(vec![map! {
        "apiVersion" => "batch/v1",
        "kind" => "Job",
        "metadata" => workload.metadata(&name),
        "spec" => map! {
            "backoffLimit" => 0_u32,
            "activeDeadlineSeconds" => hook.timeout.as_secs().max(1),
            "template" => pod,
        },
    }])
}

fn pod(workload: &Workload, name: &str, command: &crate::model::Command) -> Yaml {
    map! {
        "metadata" => map! { "labels" => workload.labels_of_pods(name) },
        "spec" => deployment::other_pod(workload, name, command),
    }
}

/// Renders a CronJob for each schedule of each job, and one that is suspended for each command that people start.
///
/// # Errors
/// Names that are too long.
pub(super) fn scheduled(workload: &Workload) -> Result<Vec<Yaml>, Diagnostics> {
    let (mut jobs, mut errors) = (Vec::new(), Diagnostics::default());
    for (name, command) in &workload.service.commands {
        let name = name.to_ascii_lowercase().replace(['_', '.'], "-");
        let object = format!("{}-{name}", workload.name);
        if object.len() > LONGEST {
            let message = format!("the name {object} of a CronJob is longer than {LONGEST} characters");
            let remedy = "give the command or the service a shorter name";
            errors.0.push(Diagnostic::of_file(&workload.shown.join(DECLARATION), message, remedy));
        }
        match &command.job {
            None => jobs.push(suspended(workload, &object, &name, command)),
            Some(job) => {
                let many = job.schedule.len() > 1;
                for (index, schedule) in job.schedule.iter().enumerate() {
                    let object = if many { format!("{object}-{}", index + 1) } else { object.clone() };
                    jobs.push(timed(workload, &object, &name, command, job, schedule));
                }
            }
        }
    }
    errors.into_result().map(|()| jobs)
}

/// Renders what `kubectl create job --from=cronjob/NAME` starts.
fn suspended(workload: &Workload, object: &str, name: &str, command: &RunCommand) -> Yaml {
    let spec = map! {
        "schedule" => "0 0 1 1 *",
        "suspend" => true,
        "jobTemplate" => template(workload, name, command, None),
    };
    cron_job(workload, object, command, spec)
}

fn timed(workload: &Workload, object: &str, name: &str, command: &RunCommand, job: &Job, schedule: &str) -> Yaml {
    // A schedule that cannot be written was refused before.
    let Ok(cron) = cron::of(schedule) else { return Yaml::Absent };
    // What was due while a job ran, or while nothing could start it, starts within this time or not at all.
    let is_made_up = job.persistent || job.overlap == Overlap::Queue;
    let spec = map! {
        "schedule" => cron.fields,
        "timeZone" => cron.zone,
        "concurrencyPolicy" => "Forbid",
        "startingDeadlineSeconds" => (!is_made_up).then_some(LATE),
        "jobTemplate" => template(workload, name, command, Some(job)),
    };
    cron_job(workload, object, command, spec)
}

fn template(workload: &Workload, name: &str, command: &RunCommand, job: Option<&Job>) -> Yaml {
    let limit = job.and_then(|job| job.timeout).map(|limit| limit.as_secs().max(1));
    map! {
        "metadata" => map! { "labels" => workload.labels_of_pods(name) },
        "spec" => map! {
            "backoffLimit" => 0_u32,
            "activeDeadlineSeconds" => limit,
            "template" => pod(workload, name, &command.exec),
        },
    }
}

fn cron_job(workload: &Workload, object: &str, command: &RunCommand, spec: Yaml) -> Yaml {
    let api = if workload.kubernetes.version >= STABLE { "batch/v1" } else { "batch/v1beta1" };
    let annotations = map! { "kubernetes.io/description" => command.description.as_deref() };
    map! {
        "apiVersion" => api,
        "kind" => "CronJob",
        "metadata" => workload.kubernetes.metadata(object, workload.labels(), annotations),
        "spec" => spec,
    }
}
