//! Lines of a job's log on their way from a handler to the bus.
//!
//! A handler never waits: it leaves its lines in a bounded place, where the oldest give way to the
//! newest. The slice publishes what it finds, many lines in one message, at most once an interval, and
//! the last ones at the end. Lines are numbered as they are said, so that a reader sees that some
//! were dropped.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use vmctl_core::{
    LogStream,
    clock::Clock,
    event::SaidLine,
    lines::{MAX_LINE, MOST, cut},
};

/// Lines that wait for the next message: no more are kept of a job.
const WAITING: usize = MOST;

/// Lines and bytes of one message. A byte of a text is at most six bytes of JSON, so that a message
/// stays below its limit whatever is in it.
const BATCH: usize = 100;
const BATCH_BYTES: usize = 24 * 1024;

/// When the first lines are handed out, if the interval is longer.
const FIRST: Duration = Duration::from_millis(100);

/// Where a handler writes its job's log.
#[derive(Clone)]
pub struct LogSink(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    news: Notify,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<SaidLine>,
    number: u32,
}

impl std::fmt::Debug for LogSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogSink").finish_non_exhaustive()
    }
}

impl LogSink {
    /// Adds a text to the job's log, each of its lines as a line. Never waits. A line is cut after
    /// 1024 bytes; of many lines in a short time the newest 200 stay.
    pub fn write(&self, stream: LogStream, text: &str) {
        let at = self.0.clock.now();
        let mut state = self.0.lock();
        for line in text.lines() {
            state.number = state.number.saturating_add(1);
            let line = SaidLine {
                n: state.number,
                at,
                stream,
                text: cut(line, MAX_LINE).to_owned(),
            };
            if state.waiting.len() >= WAITING {
                state.waiting.pop_front();
            }
            state.waiting.push_back(line);
        }
        drop(state);
        self.0.news.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // What is in there is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The other end: hands out lines at its pace.
pub(crate) struct LogPump {
    shared: Arc<Shared>,
    interval: Duration,
    next_at: Instant,
}

/// Makes both ends.
pub(crate) fn channel(clock: Arc<dyn Clock>, interval: Duration) -> (LogSink, LogPump) {
    let shared = Arc::new(Shared {
        state: Mutex::default(),
        news: Notify::new(),
        clock,
    });
    let pump = LogPump {
        shared: Arc::clone(&shared),
        interval,
        next_at: Instant::now() + interval.min(FIRST),
    };
    (LogSink(shared), pump)
}

impl LogPump {
    /// Waits for the lines of the next message. Cancel safe.
    pub(crate) async fn next(&mut self) -> Vec<SaidLine> {
        tokio::time::sleep_until(self.next_at).await;
        loop {
            if let Some(batch) = self.take() {
                self.next_at = Instant::now() + self.interval;
                return batch;
            }
            self.shared.news.notified().await;
        }
    }

    /// Takes the lines of one message, if there are some.
    pub(crate) fn take(&mut self) -> Option<Vec<SaidLine>> {
        let mut state = self.shared.lock();
        let mut bytes = 0;
        let fits = |line: &&SaidLine| {
            bytes += line.text.len();
            bytes <= BATCH_BYTES
        };
        let count = state.waiting.iter().take(BATCH).take_while(fits).count();
        (count > 0).then(|| state.waiting.drain(..count).collect())
    }
}

#[cfg(test)]
mod tests {
    use vmctl_core::clock::SystemClock;

    use super::*;

    const INTERVAL: Duration = Duration::from_millis(250);

    fn pair() -> (LogSink, LogPump) {
        channel(Arc::new(SystemClock), INTERVAL)
    }

    fn numbers(lines: &[SaidLine]) -> Vec<u32> {
        lines.iter().map(|line| line.n).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn lines_of_one_interval_are_one_message() {
        let (sink, mut pump) = pair();
        sink.write(LogStream::Log, "one\ntwo\r\n");
        sink.write(LogStream::Stderr, "three");
        let begun = Instant::now();
        let batch = pump.next().await;
        assert_eq!(numbers(&batch), [1, 2, 3]);
        assert_eq!(batch[1].text, "two");
        assert_eq!(batch[2].stream, LogStream::Stderr);
        assert_eq!(begun.elapsed(), FIRST);
        sink.write(LogStream::Log, "four");
        assert_eq!(numbers(&pump.next().await), [4]);
        assert_eq!(begun.elapsed(), FIRST + INTERVAL);
        assert_eq!(pump.take(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_leaves_its_newest_lines_and_their_numbers() {
        let (sink, mut pump) = pair();
        for n in 1..=100_000 {
            sink.write(LogStream::Log, &n.to_string());
        }
        let mut kept = Vec::new();
        while let Some(batch) = pump.take() {
            assert!(batch.len() <= BATCH);
            kept.extend(numbers(&batch));
        }
        assert_eq!(kept, (99_801..=100_000).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn long_lines_are_cut_and_messages_stay_small() {
        let (sink, mut pump) = pair();
        for _ in 0..WAITING {
            sink.write(LogStream::Log, &"\u{1}".repeat(1024 * 1024));
        }
        let mut lines = 0;
        while let Some(batch) = pump.take() {
            lines += batch.len();
            assert!(batch.iter().all(|line| line.text.len() == MAX_LINE));
            assert!(
                serde_json::to_vec(&batch).unwrap().len() < vmctl_core::event::MAX_BODY * 2 / 3
            );
        }
        assert_eq!(lines, WAITING);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_lines_outlive_the_handler() {
        let (sink, mut pump) = pair();
        sink.write(LogStream::Log, "bye");
        drop(sink);
        assert_eq!(pump.take().unwrap()[0].text, "bye");
    }
}
