//! One delivery, from its arrival to its settlement.

mod waiting;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, field};
use vmctl_core::{
    Kind,
    bus::{Attachment, Delivery, Message, PublishError},
    clock,
    event::{Event, SaidLine},
    record::Record,
    retry::{self as policy, Failed},
    store::{Lookup, RunKey},
};

use crate::{
    admission::{Admission, Entry, admit, entry, is_timed, may_have_begun},
    author::{Beside, until},
    children,
    handler::{Ctx, Handler, Outcome, Parts, Undoing},
    limits::{Ending, Limits, retry},
    logs::{self, LogPump},
    progress::{self, ProgressPump},
    pulse::Pulse,
    running::{Hand, Place},
    signals::{CancelReason, CancelWish, Signals},
    telemetry,
    worker::Shared,
};

/// How long a run is remembered, so that a copy of its command is recognised.
const RUN_CLAIM_TTL: Duration = Duration::from_secs(3600);

/// Below this a command that is not due is waited for in place: no delay tier is shorter.
const SHORTEST_DELAY: Duration = Duration::from_secs(1);

/// How long a command is put aside whose job cannot be entered before the view is there.
const ASK_AGAIN: Duration = Duration::from_secs(15);

/// How late a `started` may be published before it is looked whether the job still wants to run. Well
/// below what the reader waits before it ends a job that nobody has started.
const LATE_START: Duration = Duration::from_secs(30);

/// First and longest pause between two tries to publish the same message. Each is longer by up to a fifth,
/// so that slices which the same outage stopped do not come back together.
const PUBLISH_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often in a row the broker may refuse the same message before its delivery is given back.
const MOST_REFUSALS: u32 = 5;

/// How long an aborted handler gets to reach its next await.
const ABORT_PATIENCE: Duration = Duration::from_secs(1);

/// Whatever one queue's slices share.
pub(crate) struct Lane {
    pub(crate) kind: Kind,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) shared: Arc<Shared>,
    /// Deliveries that are not settled yet.
    in_hand: AtomicU32,
    /// Whether the broker gives it commands; known once it consumes.
    pub(crate) attachment: OnceLock<Attachment>,
    /// Take nothing new; let slices end.
    pub(crate) shutdown: CancellationToken,
    /// Give back what still runs.
    pub(crate) abort: CancellationToken,
}

/// How a delivery is to be settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ack(&'static str),
    Reject,
    Requeue(&'static str),
    /// It is not ours any more: nothing to settle.
    Lost,
}

/// A wait that ended because the slice has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interrupted {
    Lost,
    Stopping,
    /// The broker does not take what has to be said. Another worker may be allowed to say it; if
    /// none is, the delivery limit ends the job where everybody sees it.
    Refused,
}

impl From<Interrupted> for Verdict {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Lost => Self::Lost,
            Interrupted::Stopping => Self::Requeue("requeued"),
            Interrupted::Refused => Self::Requeue("refused"),
        }
    }
}

impl Lane {
    pub(crate) fn new(
        kind: Kind,
        handler: Arc<dyn Handler>,
        shared: Arc<Shared>,
        (shutdown, abort): (CancellationToken, CancellationToken),
    ) -> Self {
        Self {
            kind,
            handler,
            in_hand: AtomicU32::new(0),
            attachment: OnceLock::new(),
            shared,
            shutdown,
            abort,
        }
    }

    /// Returns how many deliveries are in hand.
    pub(crate) fn in_hand(&self) -> u32 {
        self.in_hand.load(Ordering::Relaxed)
    }

    /// Says whether the broker gives it commands.
    pub(crate) fn is_consuming(&self) -> bool {
        let attachment = self.attachment.get();
        attachment.is_some_and(|attachment| attachment.since().is_some())
    }

    /// Processes one delivery to its settlement.
    pub(crate) async fn process(&self, delivery: Delivery) {
        self.in_hand.fetch_add(1, Ordering::Relaxed);
        let _given_back = GivenBack(&self.in_hand);
        let verdict = self.judge(&delivery).await;
        let verdict = if delivery.lost.is_cancelled() {
            Verdict::Lost
        } else {
            verdict
        };
        let (result, settled) = match verdict {
            Verdict::Ack(result) => (result, delivery.ack().await),
            Verdict::Reject => ("malformed", delivery.reject().await),
            Verdict::Requeue(result) => (result, delivery.requeue().await),
            Verdict::Lost => ("lost", Ok(())),
        };
        if settled.is_err() {
            tracing::info!(
                job.kind = %self.kind,
                result,
                "the delivery was lost before it was settled; its redelivery will find it done"
            );
        }
        telemetry::delivery(&self.kind, result);
    }

    async fn judge(&self, delivery: &Delivery) -> Verdict {
        let command = match self.read(delivery) {
            Ok(command) => Arc::new(command),
            Err(reason) => {
                tracing::warn!(
                    job.kind = %self.kind,
                    message.id = delivery.message.message_id.as_deref().unwrap_or_default(),
                    reason,
                    "rejected a message that is no command for this queue"
                );
                return Verdict::Reject;
            }
        };
        let span = tracing::info_span!(
            "process",
            job.id = %command.subject,
            job.kind = %self.kind,
            job.attempt = command.data.attempt,
            job.seq = command.data.seq,
            request.id = command.data.job.auth.request_id.as_deref(),
            trace.id = field::Empty,
            otel.kind = "consumer",
            otel.name = format!("process {}", self.kind),
        );
        vmctl_trace::enter(&span, command.traceparent.as_deref());
        vmctl_trace::message(
            &span,
            vmctl_trace::Operation::Process,
            &vmctl_trace::Message {
                exchange: &delivery.message.exchange,
                routing_key: &delivery.message.routing_key,
                id: &command.id.to_string(),
                job: &command.subject.to_string(),
            },
        );
        let slice = Slice {
            lane: self,
            delivery,
            command,
        };
        let ended = slice.run().instrument(span).await;
        ended.unwrap_or_else(Verdict::from)
    }

    fn read(&self, delivery: &Delivery) -> Result<Event, String> {
        let event = Event::parse(&delivery.message.body).map_err(|e| e.to_string())?;
        if !event.event_type.is_command() {
            return Err(format!("{} is no command", event.event_type));
        }
        if event.data.job.kind != self.kind {
            return Err(format!("a command of kind {}", event.data.job.kind));
        }
        Ok(event)
    }
}

/// Counts a delivery that is not in hand any more, also when its slice breaks.
struct GivenBack<'a>(&'a AtomicU32);

impl Drop for GivenBack<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Slice<'a> {
    lane: &'a Lane,
    delivery: &'a Delivery,
    command: Arc<Event>,
}

impl Slice<'_> {
    async fn run(&self) -> Result<Verdict, Interrupted> {
        if let Some(verdict) = self.early().await? {
            return Ok(verdict);
        }
        if self.is_overdue() {
            let begun = may_have_begun(&self.command, self.is_redelivered(), None);
            let event = self.shared().author.deadline(&self.command, begun);
            self.conclude(&event).await?;
            return Ok(Verdict::Ack("deadline"));
        }
        if let Some(verdict) = self.hold_back().await? {
            return Ok(verdict);
        }
        let signals = Signals::default();
        // Asked together, to wait for one answer: a claim of a run that is not admitted hurts nobody,
        // because whoever gets this delivery again is no copy.
        let (lookup, taken) = tokio::join!(self.look_up(), self.is_copy());
        let mut record = known(lookup);
        // Without a store nobody can tell a copy; its twin's effects are then the same.
        let copy = record.is_some() && taken;
        let (place, announce) = loop {
            match self.admit(record.as_ref()) {
                Admission::Overtaken => return Ok(Verdict::Ack("overtaken")),
                Admission::Cancelled(reason) => {
                    let event = self.shared().author.cancelled(&self.command, reason);
                    self.conclude(&event).await?;
                    return Ok(Verdict::Ack("cancelled"));
                }
                Admission::Run { cancel, announce } => {
                    if copy {
                        return Ok(Verdict::Ack("copy"));
                    }
                    if let Some(CancelWish { reason }) = cancel {
                        signals.ask_to_cancel(CancelReason::Requested(reason));
                    }
                    match self.enter(&signals) {
                        Ok(place) => break (place, announce),
                        // An older run of this job winds down here. What it said counts: look again.
                        Err(gone) => self.wait(gone.cancelled()).await?,
                    }
                }
            }
            record = known(self.look_up().await);
        };
        if self.lane.shutdown.is_cancelled() {
            return Err(Interrupted::Stopping);
        }
        let now = self.shared().backends.clock.now();
        let mut limits = self.limits(record.as_ref(), now);
        if signals.cancel().is_cancelled() || self.waits_for_clean_up() {
            // Whoever cleans up needs no next attempt.
            limits.attempt_until = None;
        } else if let Some(until) = limits.attempt_until.filter(|until| *until <= now) {
            if self.give_up_children(until).await? {
                return Ok(Verdict::Ack("waiting"));
            }
            let failure = self.by_policy(Ending::AttemptTimeout.failure());
            let author = &self.shared().author;
            let event = author.conclude(&self.command, failure, Beside::default());
            self.conclude(&event).await?;
            return Ok(Verdict::Ack("attempt-timeout"));
        }
        let children = self.children(&signals, limits.attempt_until).await?;
        let Some(records) = children else {
            return Ok(Verdict::Ack("waiting"));
        };
        if announce {
            let started = self.shared().author.started(&self.command);
            self.publish(started.to_message()).await?;
            telemetry::started(&started);
            if self.was_ended_meanwhile().await {
                return Ok(Verdict::Ack("overtaken"));
            }
        }
        self.work(signals, place, limits, records).await
    }

    fn shared(&self) -> &Shared {
        &self.lane.shared
    }

    /// Says whether another worker may have begun the command.
    fn is_redelivered(&self) -> bool {
        self.delivery.message.redelivered || self.command.data.redelivered
    }

    /// Returns the command to be put aside. It comes back as if it were new, so it says what it is.
    fn put_aside(&self) -> Event {
        let mut later = (*self.command).clone();
        later.data.redelivered = self.is_redelivered();
        later
    }

    fn is_overdue(&self) -> bool {
        self.command.data.job.deadline <= self.shared().backends.clock.now()
    }

    /// Deals with a command that is not due: it waits here for a moment, or passes a delay tier. One
    /// whose job is to be cancelled goes on at once, because then there is nothing to wait for.
    async fn early(&self) -> Result<Option<Verdict>, Interrupted> {
        let now = self.shared().backends.clock.now();
        let Some(ahead) = self.command.due().map(|at| until(now, at)) else {
            return Ok(None);
        };
        if ahead < SHORTEST_DELAY {
            self.wait(sleep(ahead)).await?;
            return Ok(None);
        }
        match self.admit(known(self.look_up().await).as_ref()) {
            Admission::Overtaken => Ok(Some(Verdict::Ack("overtaken"))),
            Admission::Run { cancel: None, .. } => {
                self.publish(self.put_aside().to_due_message(now)).await?;
                Ok(Some(Verdict::Ack("delayed")))
            }
            Admission::Cancelled(_) | Admission::Run { .. } => Ok(None),
        }
    }

    /// Deals with a command that must not be entered blindly: of a scheduled job, or of one that had to
    /// be started before. What cannot be told yet is asked again later; the deadline bounds that.
    async fn hold_back(&self) -> Result<Option<Verdict>, Interrupted> {
        let now = self.shared().backends.clock.now();
        if !is_timed(&self.command, now) {
            return Ok(None);
        }
        let lookup = self.look_up().await;
        let admission = self.admit(lookup.as_ref().and_then(|l| l.record.as_ref()));
        if !matches!(admission, Admission::Run { cancel: None, .. }) {
            return Ok(None);
        }
        match entry(&self.command, self.is_redelivered(), lookup.as_ref(), now) {
            Entry::Now => Ok(None),
            Entry::TooLate => {
                let event = self.shared().author.start_deadline(&self.command);
                self.conclude(&event).await?;
                Ok(Some(Verdict::Ack("start-deadline")))
            }
            Entry::NotKnown => {
                let mut later = self.put_aside();
                later.data.not_before = Some(clock::add(now, ASK_AGAIN));
                self.publish(later.to_due_message(now)).await?;
                Ok(Some(Verdict::Ack("held-back")))
            }
        }
    }

    /// Says whether a `started` that took long to publish came after the reader had given the job up:
    /// then it has ended and must not be entered.
    async fn was_ended_meanwhile(&self) -> bool {
        let now = self.shared().backends.clock.now();
        let start_by = self.command.data.job.start_by;
        if start_by.is_none_or(|at| clock::add(at, LATE_START) >= now) {
            return false;
        }
        known(self.look_up().await).is_some_and(|record| record.is_terminal())
    }

    fn limits(&self, record: Option<&Record>, now: Timestamp) -> Limits {
        let Shared {
            backends, config, ..
        } = self.shared();
        let kind = backends.registry.get(&self.lane.kind);
        Limits::new(&self.command, kind, config.slice_limit, record, now)
    }

    /// Replaces a failed attempt by what its kind's policy makes of it.
    fn by_policy(&self, outcome: Outcome) -> Outcome {
        let Outcome::Retry { after, error } = outcome else {
            return outcome;
        };
        let data = &self.command.data;
        let failed = Failed {
            job: self.command.subject,
            epoch: data.epoch,
            attempt: data.attempt,
            max_attempts: data.job.max_attempts,
            error_type: &error.error_type,
        };
        let kind = self.shared().backends.registry.get(&self.lane.kind);
        match kind.map(|kind| kind.retry.after(failed)) {
            Some(policy::Verdict::GiveUp) => Outcome::Fail(error),
            Some(policy::Verdict::Again(wait)) => Outcome::Retry {
                after: after.or(Some(wait)),
                error,
            },
            None => Outcome::Retry { after, error },
        }
    }

    /// Returns what the store knows; `None` when it does not answer in time.
    async fn look_up(&self) -> Option<Lookup> {
        let Shared {
            backends, config, ..
        } = self.shared();
        let answer = timeout(
            config.store_timeout,
            backends.store.get(self.command.subject),
        )
        .await;
        match answer {
            Ok(Ok(lookup)) => Some(lookup),
            Ok(Err(error)) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "going on without the store"
                );
                None
            }
            Err(_) => {
                tracing::debug!("going on without the store: no answer in time");
                None
            }
        }
    }

    fn admit(&self, record: Option<&Record>) -> Admission {
        let command = &self.command;
        let wish = self
            .shared()
            .running
            .wish(command.subject, command.data.epoch);
        admit(command, self.is_redelivered(), record, wish)
    }

    /// Says whether this is a copy of a command that somebody runs or ran. A redelivery never is:
    /// whoever had it may be gone.
    async fn is_copy(&self) -> bool {
        let Shared {
            backends, config, ..
        } = self.shared();
        let data = &self.command.data;
        let run = RunKey {
            job: self.command.subject,
            epoch: data.epoch,
            attempt: data.attempt,
            seq: data.seq,
        };
        let claim = backends.store.claim_run(&run, &config.name, RUN_CLAIM_TTL);
        let taken = matches!(timeout(config.store_timeout, claim).await, Ok(Ok(false)));
        taken && !self.is_redelivered()
    }

    fn enter(&self, signals: &Signals) -> Result<Place, CancellationToken> {
        let command = &self.command;
        self.shared()
            .running
            .enter(command.subject, command.data.epoch, signals)
    }

    /// Waits for something that comes before the handler; a shutdown ends the wait.
    async fn wait(&self, what: impl Future<Output = ()>) -> Result<(), Interrupted> {
        tokio::select! {
            biased;
            () = self.delivery.lost.cancelled() => Err(Interrupted::Lost),
            () = self.lane.shutdown.cancelled() => Err(Interrupted::Stopping),
            () = what => Ok(()),
        }
    }

    /// Publishes a message until the broker has confirmed it. Ends without when the delivery is
    /// lost, when a drain is over, or when the broker keeps refusing the message: then the
    /// redelivery decides.
    async fn publish(&self, message: Message) -> Result<(), Interrupted> {
        let publisher = &self.shared().backends.bus.publisher;
        let lost = &self.delivery.lost;
        let (mut pause, _) = PUBLISH_PAUSE;
        let mut refusals = 0;
        loop {
            if lost.is_cancelled() {
                return Err(Interrupted::Lost);
            }
            let Err(error) = publisher.publish(message.clone()).await else {
                return Ok(());
            };
            telemetry::unconfirmed(&self.lane.kind);
            // Only a refusal says that the next try will end the same way.
            refusals = match error {
                PublishError::Returned(_) => refusals + 1,
                _ => 0,
            };
            if refusals >= MOST_REFUSALS {
                tracing::error!(
                    job.id = %self.command.subject,
                    job.kind = %self.lane.kind,
                    bus.routing_key = %message.routing_key,
                    error = &error as &dyn std::error::Error,
                    "the broker refuses the message; its delivery is given back"
                );
                return Err(Interrupted::Refused);
            }
            tracing::warn!(
                job.id = %self.command.subject,
                bus.routing_key = %message.routing_key,
                error = &error as &dyn std::error::Error,
                "not confirmed; the same message is published again"
            );
            self.pause(&mut pause).await?;
        }
    }

    /// Waits before the broker is asked again, longer each time. Ends with the delivery and the drain.
    async fn pause(&self, pause: &mut Duration) -> Result<(), Interrupted> {
        tokio::select! {
            biased;
            () = self.delivery.lost.cancelled() => Err(Interrupted::Lost),
            () = self.lane.abort.cancelled() => Err(Interrupted::Stopping),
            () = sleep(pause.mul_f64(rand::random_range(1.0..1.2))) => {
                *pause = (*pause * 2).min(PUBLISH_PAUSE.1);
                Ok(())
            }
        }
    }

    async fn conclude(&self, event: &Event) -> Result<(), Interrupted> {
        let now = self.shared().backends.clock.now();
        self.publish(event.to_due_message(now)).await?;
        telemetry::concluded(event);
        tracing::info!(
            job.id = %event.subject,
            job.kind = %event.data.job.kind,
            job.attempt = self.command.data.attempt,
            job.seq = self.command.data.seq,
            job.state = %event.data.state,
            event = event.event_type.word(),
            "slice ended"
        );
        Ok(())
    }

    /// Runs the handler and publishes what came out.
    async fn work(
        &self,
        signals: Signals,
        place: Place,
        limits: Limits,
        records: Vec<Option<Record>>,
    ) -> Result<Verdict, Interrupted> {
        let Shared {
            backends, config, ..
        } = self.shared();
        let (sink, mut pump) = progress::channel(
            self.command.data.progress.clone(),
            backends.clock.clone(),
            config.tick_interval,
        );
        let (log, mut lines) = logs::channel(backends.clock.clone(), config.tick_interval);
        let pulse = Pulse::default();
        let undoing = Undoing::default();
        let waited = self.command.data.waits.as_ref();
        let names = waited.map_or(&[][..], |waits| &waits.children);
        let parts = Parts {
            worker: config.name.as_str().into(),
            signals: signals.clone(),
            progress: sink,
            log,
            pulse: pulse.clone(),
            children: children::outcomes(&self.command, names, records),
            undoing: undoing.clone(),
            clock: backends.clock.clone(),
        };
        let ctx = Ctx::new(self.command.clone(), parts);
        let handler = self.lane.handler.clone();
        let told = ctx.clone();
        let active = telemetry::Active::new(&self.lane.kind);
        let begun = Instant::now();
        place.begin(self.hand(begun, &pulse));
        let mut task = HandlerTask(tokio::spawn(
            async move { handler.run(ctx).await }.in_current_span(),
        ));
        let end = self
            .watch(
                &mut task,
                &signals,
                (&mut pump, &mut lines),
                (limits, pulse),
            )
            .await;
        task.stop().await;
        drop(active);
        telemetry::ran(&self.lane.kind, begun.elapsed());

        let event = match end {
            Ok(end) => {
                let beside = || Beside {
                    progress: pump.newest(),
                    attempt_until: limits.attempt_until,
                    compensation: undoing.get(),
                };
                let tell = |end| self.event_of(end, &signals, beside());
                self.ask(end, told, tell).await
            }
            Err(interrupted) => Err(interrupted),
        };
        while let Some(last) = lines.take() {
            self.log(last).await;
        }
        let concluded = self.conclude(&event?).await;
        // The next slice may be here already; it may go on once this one has nothing left to say.
        drop(place);
        concluded.map(|()| Verdict::Ack("run"))
    }

    fn hand(&self, since: Instant, pulse: &Pulse) -> Hand {
        Hand {
            kind: self.lane.kind.clone(),
            project: self.command.data.job.auth.project_id.clone(),
            attempt: self.command.data.attempt,
            since,
            pulse: pulse.clone(),
        }
    }

    /// Follows a running handler: passes signals on, publishes progress and lines, keeps the time.
    async fn watch(
        &self,
        task: &mut HandlerTask,
        signals: &Signals,
        (pump, lines): (&mut ProgressPump, &mut LogPump),
        (limits, pulse): (Limits, Pulse),
    ) -> Result<End, Interrupted> {
        let Shared {
            backends, config, ..
        } = self.shared();
        let lost = &self.delivery.lost;
        let (begun, now) = (Instant::now(), backends.clock.now());
        let limited = Limited {
            deadline: begun + until(now, self.command.data.job.deadline),
            attempt: limits.attempt_until.map(|at| begun + until(now, at)),
            slice: begun + limits.slice,
        };
        let mut reports = pump.reports();
        let mut kill_at = None;
        let mut ending = None;
        loop {
            tokio::select! {
                biased;
                () = lost.cancelled(), if !signals.lost().is_cancelled() => {
                    signals.say_lost();
                    kill_at = Some(soonest(kill_at, Instant::now() + config.stop_grace));
                }
                ended = &mut task.0 => {
                    return if lost.is_cancelled() { Err(Interrupted::Lost) } else { ended_as(ended, ending) };
                }
                () = self.lane.abort.cancelled() => return Err(Interrupted::Stopping),
                () = at(kill_at) => {
                    return if lost.is_cancelled() {
                        Err(Interrupted::Lost)
                    } else {
                        Ok(End::Stopped(ending.unwrap_or(Ending::SliceTimeout)))
                    };
                }
                why = over(limited, ending) => {
                    ending = Some(why);
                    signals.ask_to_cancel(why.reason());
                    kill_at = Some(soonest(kill_at, Instant::now() + config.stop_grace));
                }
                Ok(()) = reports.changed() => pulse.beat(),
                () = silence(&pulse, limits.stall_after), if ending.is_none() => {
                    ending = Some(Ending::Stalled);
                    signals.ask_to_cancel(Ending::Stalled.reason());
                    kill_at = Some(soonest(kill_at, Instant::now() + config.stop_grace));
                }
                () = self.lane.shutdown.cancelled(), if !signals.drain().is_cancelled() => {
                    signals.ask_to_hand_over();
                }
                (number, progress) = pump.next() => {
                    self.tick(self.shared().author.tick(&self.command, number, progress)).await;
                }
                lines = lines.next() => {
                    pulse.beat();
                    self.log(lines).await;
                }
            }
        }
    }

    async fn log(&self, lines: Vec<SaidLine>) {
        self.tick(self.shared().author.log(&self.command, lines))
            .await;
    }

    /// Publishes what may be lost.
    async fn tick(&self, event: Event) {
        if self.delivery.lost.is_cancelled() {
            return;
        }
        let publisher = &self.shared().backends.bus.publisher;
        if let Err(error) = publisher.publish_tick(event.to_message()).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                tick = event.event_type.word(),
                "a tick was not published"
            );
        }
    }

    fn event_of(&self, end: End, signals: &Signals, beside: Beside) -> Event {
        let author = &self.shared().author;
        let command = &*self.command;
        let overdue = signals.reason() == Some(&CancelReason::Deadline);
        let so_far = |mut event: Event| {
            event.data.progress = beside.progress.clone().or(event.data.progress);
            event.data.compensation = beside.compensation.or(event.data.compensation);
            event
        };
        let outcome = match end {
            End::Stopped(Ending::Deadline) => return so_far(author.deadline(command, true)),
            End::Stopped(ending) => ending.failure(),
            End::Finished(Outcome::Done(output), _) => Outcome::Done(output),
            // Whatever else it says, there is no time left to go on.
            End::Finished(..) if overdue => return so_far(author.deadline(command, true)),
            End::Finished(outcome, None | Some(Ending::Deadline)) => outcome,
            End::Finished(outcome, Some(ending)) => ending.judge(outcome, signals.reason()),
            End::Panicked => retry("panic", "the worker failed unexpectedly"),
        };
        if outcome == Outcome::Cancelled {
            let reason = match signals.reason() {
                Some(CancelReason::Requested(reason)) => reason.clone(),
                _ => None,
            };
            return so_far(author.cancelled(command, reason));
        }
        author.conclude(command, self.by_policy(outcome), beside)
    }
}

/// Returns the record of a store that answers; an empty one when it has none.
fn known(lookup: Option<Lookup>) -> Option<Record> {
    lookup.map(|lookup| lookup.record.unwrap_or_default())
}

fn soonest(planned: Option<Instant>, at: Instant) -> Instant {
    planned.map_or(at, |planned| planned.min(at))
}

/// Waits until this instant; for ever without one.
async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Waits until the handler has given no sign of life for so long; for ever without a limit.
async fn silence(pulse: &Pulse, limit: Option<Duration>) {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    loop {
        let last = pulse.last();
        sleep_until(last + limit).await;
        if pulse.last() == last {
            return;
        }
    }
}

/// When what of a slice is over.
#[derive(Debug, Clone, Copy)]
struct Limited {
    deadline: Instant,
    attempt: Option<Instant>,
    slice: Instant,
}

/// Waits until the next limit is over and says which. A deadline comes also after another one.
async fn over(limited: Limited, ending: Option<Ending>) -> Ending {
    let deadline = async {
        if ending == Some(Ending::Deadline) {
            std::future::pending::<()>().await;
        }
        sleep_until(limited.deadline).await;
    };
    let others = async {
        if ending.is_some() {
            std::future::pending::<()>().await;
        }
        tokio::select! {
            biased;
            () = at(limited.attempt) => Ending::AttemptTimeout,
            () = sleep_until(limited.slice) => Ending::SliceTimeout,
        }
    };
    tokio::select! {
        biased;
        () = deadline => Ending::Deadline,
        other = others => other,
    }
}

/// How a handler ended.
#[derive(Debug)]
enum End {
    /// By itself, maybe after it was told to stop.
    Finished(Outcome, Option<Ending>),
    Panicked,
    /// It was told to stop and did not in time.
    Stopped(Ending),
}

fn ended_as(
    ended: Result<Outcome, tokio::task::JoinError>,
    ending: Option<Ending>,
) -> Result<End, Interrupted> {
    match ended {
        Ok(outcome) => Ok(End::Finished(outcome, ending)),
        // The panic hook has written its text to the log; clients do not see it.
        Err(error) if error.is_panic() => Ok(End::Panicked),
        Err(_) => Err(Interrupted::Stopping),
    }
}

/// A handler's task. It does not outlive its slice.
struct HandlerTask(JoinHandle<Outcome>);

impl HandlerTask {
    /// Stops the task and waits until it has stopped: nothing of the job may go on here once its
    /// place is free.
    async fn stop(&mut self) {
        if self.0.is_finished() {
            return;
        }
        self.0.abort();
        if timeout(ABORT_PATIENCE, &mut self.0).await.is_err() {
            tracing::error!("a handler blocks its thread and could not be stopped");
        }
    }
}

impl Drop for HandlerTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}
