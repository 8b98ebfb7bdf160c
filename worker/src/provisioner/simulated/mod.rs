//! A provisioner that makes files instead of machines, and takes its time for it.
//!
//! It is the default, and what the suite is measured with: its directory is shared by all workers
//! that use it, a worker that dies leaves its machines where they are, and the effect log beside
//! them tells what was done how often.

mod fail;
mod files;
mod names;
#[cfg(test)]
mod tests;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};
use vmctl_core::{JobId, clock::Clock, error::chain};

pub use fail::{FailRule, ParseFailRuleError};

use super::{
    Call, Deletion, Health, Observed, Phase, PowerOp, ProvisionError, Provisioner, Step, Vm, VmSpec,
};
use crate::author::until;
use files::{Files, Machine, What};

/// The phases. What comes before [`FIRST_EFFECT`] leaves no trace.
const PHASES: [Phase; 6] = [
    phase("validate", 5),
    phase("storage", 10),
    phase("define", 10),
    phase("start", 15),
    phase("boot", 50),
    phase("ready", 10),
];

/// The phase in which a machine begins to exist.
const FIRST_EFFECT: usize = 1;

/// Least and most time between two reports of progress.
const REPORT_EVERY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

const fn phase(name: &'static str, weight: u8) -> Phase {
    Phase { name, weight }
}

/// Settings of the simulation.
#[derive(Debug, Clone)]
pub struct SimulatedConfig {
    /// Where the machines are.
    pub directory: PathBuf,
    /// How long a creation takes in all. Zero: one call without waiting.
    pub duration: Duration,
    /// Which phase fails.
    pub fail: Option<FailRule>,
}

/// Makes files.
#[derive(Clone)]
pub struct Simulated(Arc<Inner>);

struct Inner {
    files: Files,
    duration: Duration,
    fail: Option<FailRule>,
    clock: Arc<dyn Clock>,
    /// One probe at a time: a file system that hangs must not take a thread for each.
    probes: Arc<Semaphore>,
}

/// Where a creation stands.
enum Stage {
    /// In this phase, for this much longer.
    In(usize, Duration),
    /// At its end.
    Ready(Box<Vm>),
}

impl Simulated {
    /// Opens the directory; makes it when it is missing.
    ///
    /// # Errors
    ///
    /// Whatever the file system says.
    pub fn open(config: SimulatedConfig, clock: Arc<dyn Clock>) -> io::Result<Self> {
        Ok(Self(Arc::new(Inner {
            files: Files::open(&config.directory, clock.clone())?,
            duration: config.duration,
            fail: config.fail,
            clock,
            probes: Arc::new(Semaphore::new(1)),
        })))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Inner) -> Result<T, ProvisionError> + Send + 'static,
    ) -> Result<T, ProvisionError> {
        let inner = self.0.clone();
        match tokio::task::spawn_blocking(move || what(&inner)).await {
            Ok(result) => result,
            Err(error) => Err(transient("the simulation broke", error)),
        }
    }

    /// Waits in a phase. Returns false when it was stopped.
    async fn wait(&self, index: usize, left: Duration, call: &Call) -> bool {
        let whole = self.0.length(index);
        let weight = u32::from(PHASES[index].weight.max(1));
        let pause = (whole / weight).clamp(REPORT_EVERY.0, REPORT_EVERY.1);
        let end = Instant::now() + left;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            report(call, index, whole.saturating_sub(left), whole);
            if left.is_zero() {
                return !call.stop.is_cancelled();
            }
            tokio::select! {
                biased;
                () = call.stop.cancelled() => return false,
                () = sleep_until(end.min(Instant::now() + pause)) => {}
            }
        }
    }
}

fn report(call: &Call, index: usize, past: Duration, whole: Duration) {
    let before: u8 = PHASES[..index].iter().map(|p| p.weight).sum();
    let within = if whole.is_zero() {
        0
    } else {
        let weight = u128::from(PHASES[index].weight);
        u8::try_from(weight * past.min(whole).as_millis() / whole.as_millis().max(1)).unwrap_or(0)
    };
    let number = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    let number = (number(index + 1), number(PHASES.len()));
    let step = PHASES[index].name;
    call.progress
        .report_step(before + within, step, Some(number), None);
}

#[async_trait]
impl Provisioner for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn phases(&self) -> &'static [Phase] {
        &PHASES
    }

    async fn observe(&self, job: JobId) -> Result<Observed, ProvisionError> {
        self.blocking(move |inner| Ok(inner.observe(job)?)).await
    }

    async fn create(&self, spec: &VmSpec, call: &Call) -> Result<Step, ProvisionError> {
        let (spec, shared) = (spec.clone(), call.clone());
        if self.0.duration.is_zero() {
            return self
                .blocking(move |inner| inner.create_at_once(&spec, &shared))
                .await;
        }
        let job = spec.job;
        let stage = self
            .blocking(move |inner| inner.enter(&spec, &shared, shared.from.as_deref()))
            .await?;
        let (index, left) = match stage {
            Stage::In(index, left) => (index, left),
            Stage::Ready(vm) => return Ok(Step::Ready(vm)),
        };
        let phase = PHASES[index].name;
        if !self.wait(index, left.min(call.budget), call).await {
            return Ok(Step::Stopped { phase });
        }
        if left > call.budget {
            return Ok(Step::Next {
                phase,
                after: Duration::ZERO,
            });
        }
        let shared = call.clone();
        self.blocking(move |inner| inner.leave(job, index, &shared))
            .await
    }

    async fn delete(&self, job: JobId, call: &Call) -> Result<Deletion, ProvisionError> {
        let call = call.clone();
        self.blocking(move |inner| Ok(inner.delete(job, &call)?))
            .await
    }

    async fn power(&self, job: JobId, op: PowerOp, _call: &Call) -> Result<(), ProvisionError> {
        self.blocking(move |inner| inner.power(job, op)).await
    }

    async fn list(&self) -> Result<Vec<Vm>, ProvisionError> {
        self.blocking(|inner| Ok(inner.files.list()?)).await
    }

    async fn health(&self) -> Health {
        // The semaphore is never closed. The probe keeps its permit when nobody waits any more.
        let permit = self.0.probes.clone().acquire_owned().await.ok();
        let probe = move |inner: &Inner| {
            let _permit = permit;
            Ok(inner.files.probe()?)
        };
        match self.blocking(probe).await {
            Ok(()) => Health::Ok,
            Err(error) => Health::Failing(chain(&error)),
        }
    }
}

impl Inner {
    fn length(&self, index: usize) -> Duration {
        self.duration * u32::from(PHASES[index].weight) / 100
    }

    fn observe(&self, job: JobId) -> io::Result<Observed> {
        let _guard = self.files.lock(job)?;
        if let Some(deletion) = self.files.deletion(job)? {
            return Ok(Observed::Deleted(deletion));
        }
        Ok(match self.files.machine(job)? {
            None => Observed::Absent,
            Some(machine) => match PHASES.get(machine.done) {
                Some(phase) => Observed::Partial { phase: phase.name },
                None => Observed::Ready(Box::new(machine.vm(None))),
            },
        })
    }

    /// Makes a machine without waiting. One that somebody has begun, or that is to fail, goes through
    /// its phases one by one.
    fn create_at_once(&self, spec: &VmSpec, call: &Call) -> Result<Step, ProvisionError> {
        if self.fail.is_none()
            && !call.stop.is_cancelled()
            && let Some(vm) = self.make(spec, call)?
        {
            report(call, PHASES.len() - 1, Duration::ZERO, Duration::ZERO);
            return Ok(Step::Ready(Box::new(vm)));
        }
        let mut from = call.from.clone();
        loop {
            if call.stop.is_cancelled() {
                let phase = from.as_deref().and_then(index_of).unwrap_or(0);
                let phase = PHASES[phase].name;
                return Ok(Step::Stopped { phase });
            }
            let index = match self.enter(spec, call, from.as_deref())? {
                Stage::In(index, _) => index,
                Stage::Ready(vm) => return Ok(Step::Ready(vm)),
            };
            report(call, index, Duration::ZERO, Duration::ZERO);
            match self.leave(spec.job, index, call)? {
                Step::Next { phase, .. } => from = Some(phase.to_owned()),
                step => return Ok(step),
            }
        }
    }

    /// Makes a whole machine under one lock; none when somebody has begun it.
    fn make(&self, spec: &VmSpec, call: &Call) -> Result<Option<Vm>, ProvisionError> {
        let _guard = self.files.lock(spec.job)?;
        self.still_ours(spec.job, call)?;
        let now = self.clock.now();
        let machine = match self.files.machine(spec.job)? {
            Some(machine) if machine.done < PHASES.len() => return Ok(None),
            Some(machine) if self.files.has_effect(spec.job, machine.made_in)? => {
                return Ok(Some(machine.vm(None)));
            }
            // Whoever made it died before it could say so.
            Some(machine) => machine,
            None => {
                let machine = Machine {
                    spec: spec.clone(),
                    created_at: now,
                    done: PHASES.len(),
                    phase: PHASES[PHASES.len() - 1].name.to_owned(),
                    since: now,
                    on: true,
                    made_in: call.epoch,
                    run: call.epoch,
                };
                let _name = self.take_name(spec)?;
                self.files.create(&machine)?;
                machine
            }
        };
        let mut notes = Vec::with_capacity(2 * PHASES.len());
        for (index, phase) in PHASES.iter().enumerate() {
            notes.push((phase.name, What::Start));
            if index == FIRST_EFFECT {
                notes.push((phase.name, What::Effect));
            }
            if index >= FIRST_EFFECT {
                notes.push((phase.name, What::End));
            }
        }
        self.files.note(call, spec.job, &notes, now)?;
        Ok(Some(machine.vm(None)))
    }

    /// Takes up the creation where it stands. Makes the machine when it is time for that.
    fn enter(
        &self,
        spec: &VmSpec,
        call: &Call,
        from: Option<&str>,
    ) -> Result<Stage, ProvisionError> {
        let _guard = self.files.lock(spec.job)?;
        self.still_ours(spec.job, call)?;
        let now = self.clock.now();
        let mut found = self.files.machine(spec.job)?;
        if let Some(machine) = found.as_mut().filter(|m| m.run < call.epoch) {
            machine.run = call.epoch;
            self.files.replace(machine)?;
        }
        let made_in = found.as_ref().map_or(call.epoch, |m| m.made_in);
        let (index, left) = match found {
            Some(machine) if machine.done >= PHASES.len() => {
                return Ok(Stage::Ready(Box::new(machine.vm(None))));
            }
            Some(machine) => {
                let past = until(machine.since, now);
                let left = self.length(machine.done).saturating_sub(past);
                (machine.done, left)
            }
            None => {
                let index = from.and_then(index_of).unwrap_or(0).min(FIRST_EFFECT);
                (index, self.length(index))
            }
        };
        let name = PHASES[index].name;
        self.fail(name)?;
        self.files
            .note(call, spec.job, &[(name, What::Start)], now)?;
        if index == FIRST_EFFECT {
            let machine = Machine {
                spec: spec.clone(),
                created_at: now,
                done: index,
                phase: name.to_owned(),
                since: now,
                on: false,
                made_in: call.epoch,
                run: call.epoch,
            };
            let _name = self.take_name(spec)?;
            // Whoever made it may have died before it could say so.
            let made = self.files.create(&machine)?;
            if made || !self.files.has_effect(spec.job, made_in)? {
                self.files
                    .note(call, spec.job, &[(name, What::Effect)], now)?;
            }
        }
        Ok(Stage::In(index, left))
    }

    /// Ends a phase, unless somebody else has done that.
    fn leave(&self, job: JobId, index: usize, call: &Call) -> Result<Step, ProvisionError> {
        let next = |index: usize| Step::Next {
            phase: PHASES[index].name,
            after: Duration::ZERO,
        };
        if index < FIRST_EFFECT {
            return Ok(next(index + 1));
        }
        let _guard = self.files.lock(job)?;
        self.still_ours(job, call)?;
        let Some(mut machine) = self.files.machine(job)? else {
            return Ok(next(FIRST_EFFECT));
        };
        if machine.done == index {
            let now = self.clock.now();
            machine.done += 1;
            machine.since = now;
            match PHASES.get(machine.done) {
                Some(phase) => phase.name.clone_into(&mut machine.phase),
                None => machine.on = true,
            }
            self.files.replace(&machine)?;
            let name = PHASES[index].name;
            self.files.note(call, job, &[(name, What::End)], now)?;
        }
        if machine.done < PHASES.len() {
            return Ok(next(machine.done));
        }
        Ok(Step::Ready(Box::new(machine.vm(None))))
    }

    /// Takes the machine's host name until the guard is dropped; the machine keeps it.
    fn take_name(&self, spec: &VmSpec) -> Result<std::fs::File, ProvisionError> {
        self.files.take_name(spec)?.map_err(|job| {
            let name = &spec.hostname;
            let taken = format!("the machine of job {job} has the host name {name}");
            ProvisionError::Conflict(taken)
        })
    }

    /// Checks, under the lock, that there is something to go on with.
    fn still_ours(&self, job: JobId, call: &Call) -> Result<(), ProvisionError> {
        if call.lost.is_cancelled() {
            return Err(ProvisionError::Transient {
                what: "the delivery was lost".to_owned(),
                source: None,
            });
        }
        self.files.forget_earlier(job, call)?;
        let of_later_run = |machine: Machine| call.job == job && machine.run > call.epoch;
        if self.files.deletion(job)?.is_some() || self.files.machine(job)?.is_some_and(of_later_run)
        {
            return Err(ProvisionError::Gone);
        }
        Ok(())
    }

    fn fail(&self, phase: &str) -> Result<(), ProvisionError> {
        let Some(rule) = self.fail.as_ref().filter(|rule| rule.phase == phase) else {
            return Ok(());
        };
        if self.files.fail(phase, rule.times)? {
            return Err(ProvisionError::Transient {
                what: format!("phase {phase} failed, as the simulation was told to"),
                source: None,
            });
        }
        Ok(())
    }

    fn delete(&self, job: JobId, call: &Call) -> io::Result<Deletion> {
        let _guard = self.files.lock(job)?;
        let now = self.clock.now();
        let (deletion, first) = self.files.bury(job, call, now)?;
        if first && deletion.existed {
            self.files
                .note(call, job, &[("delete", What::Delete)], now)?;
        }
        Ok(deletion)
    }

    fn power(&self, job: JobId, op: PowerOp) -> Result<(), ProvisionError> {
        let _guard = self.files.lock(job)?;
        let machine = match self.files.deletion(job)? {
            Some(_) => None,
            None => self.files.machine(job)?,
        };
        let Some(mut machine) = machine.filter(|m| m.done >= PHASES.len()) else {
            return Err(ProvisionError::Conflict(
                "the machine is not ready".to_owned(),
            ));
        };
        machine.on = op != PowerOp::Off;
        Ok(self.files.replace(&machine)?)
    }
}

fn index_of(name: &str) -> Option<usize> {
    PHASES.iter().position(|phase| phase.name == name)
}

fn transient(what: &str, source: impl std::error::Error + Send + Sync + 'static) -> ProvisionError {
    ProvisionError::Transient {
        what: what.to_owned(),
        source: Some(Box::new(source)),
    }
}

impl From<io::Error> for ProvisionError {
    fn from(source: io::Error) -> Self {
        transient("the directory of the simulation cannot be used", source)
    }
}
