//! The contract suite of the bus, with the journal in a file, and what damage and a full disk do.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use jiff::Timestamp;
use redb::{StorageBackend, backends::FileBackend};
use tempfile::TempDir;
use vmctl_core::{
    bus::{Bus, BusState, Message, PublishError},
    clock::{Clock, from_unix_ms},
    memory::bus::{
        InMemoryBus, Limits,
        journal::{Journal, JournalError},
    },
    testing::bus::{BusFixture, TokioClock, assert_kept, patiently},
    topology::{EXCHANGE_JOBS, Topology},
};
use vmctl_standalone::data::{DataDir, DataError, RedbJournal};

struct FileFixture {
    directory: TempDir,
    clock: TokioClock,
    broker: InMemoryBus,
}

fn journal(directory: &Path) -> Result<Arc<RedbJournal>, DataError> {
    let data = DataDir::open(directory)?;
    let journal = Arc::new(data.journal()?);
    data.secret()?;
    data.set_complete(true)?;
    Ok(journal)
}

async fn broker(clock: TokioClock, journal: Arc<dyn Journal>) -> InMemoryBus {
    let broker = InMemoryBus::with_journal(Arc::new(clock), Limits::default(), journal).await;
    broker.unwrap().0
}

#[async_trait]
impl BusFixture for FileFixture {
    async fn set_up(_case: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let clock = TokioClock::new();
        let broker = broker(clock.clone(), journal(directory.path()).unwrap()).await;
        Some(Self {
            directory,
            clock,
            broker,
        })
    }

    fn bus(&self) -> Bus {
        self.broker.bus()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn break_connections(&self) -> bool {
        self.broker.break_connections();
        true
    }

    async fn set_blocked(&self, blocked: bool) -> bool {
        let reason = blocked.then_some("the fixture says so");
        self.broker.set_blocked(reason);
        true
    }

    async fn set_down(&self, down: bool) -> bool {
        self.broker.set_down(down);
        true
    }

    async fn tear_down(self) {
        // What another process would find: the file as it is, without a clean end.
        let copy = tempfile::tempdir().unwrap();
        patiently("written journal", async {
            while !self.broker.is_kept() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
        for file in ["journal.redb", "format", "id-secret"] {
            fs::copy(self.directory.path().join(file), copy.path().join(file)).unwrap();
        }
        let found = journal(copy.path()).unwrap();
        assert_kept(&self.broker, self.clock, found).await;
    }
}

vmctl_core::bus_suite!(FileFixture, #[tokio::test(start_paused = true)]);

/// A command without work queue: it is in the log.
fn message(id: usize) -> Message {
    Message {
        exchange: EXCHANGE_JOBS.to_owned(),
        routing_key: "job.vm.create".parse().unwrap(),
        content_type: "text/plain".to_owned(),
        message_id: id.to_string(),
        correlation_id: String::new(),
        message_type: "test".to_owned(),
        timestamp: from_unix_ms(1_795_000_000_000),
        persistent: true,
        headers: BTreeMap::new(),
        body: vec![b'x'; 1000].into(),
    }
}

/// A directory in which a standalone kept 200 entries of the log, and ended.
async fn used() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(TokioClock::new(), journal(directory.path()).unwrap()).await;
    let bus = broker.bus();
    bus.admin.declare(&Topology::new([])).await.unwrap();
    for id in 0..200 {
        bus.publisher.publish(message(id)).await.unwrap();
    }
    broker.close().await;
    directory
}

/// Opens the directory as a start does; a panic of the library is told as damage too.
async fn open(directory: &Path) -> Result<u64, DataError> {
    let path = directory.to_owned();
    let damaged = |text: String| DataError::Journal {
        path: directory.to_owned(),
        source: JournalError::Damaged(text),
    };
    let journal = tokio::task::spawn_blocking(move || journal(&path)).await;
    let journal = journal.map_err(|panic| damaged(panic.to_string()))??;
    let clock = Arc::new(TokioClock::new());
    let opened = InMemoryBus::with_journal(clock, Limits::default(), journal).await;
    let (broker, restored) = opened.map_err(|error| damaged(error.to_string()))?;
    broker.close().await;
    Ok(restored.log_entries)
}

#[tokio::test]
async fn what_was_kept_is_there_again() {
    let directory = used().await;
    assert_eq!(open(directory.path()).await.unwrap(), 200);
    assert_eq!(open(directory.path()).await.unwrap(), 200);
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_refused() {
    let directory = used().await;
    let path = directory.path().join("journal.redb");
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, 511, 4096, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = open(directory.path()).await.unwrap_err();
        println!("{length} of {}: {error:?}", whole.len());
    }
    fs::remove_file(&path).unwrap();
    let error = open(directory.path()).await.unwrap_err();
    assert!(matches!(error, DataError::Missing { .. }), "{error}");
    fs::write(&path, &whole).unwrap();
    assert_eq!(open(directory.path()).await.unwrap(), 200);
}

#[tokio::test]
async fn a_changed_byte_loses_nothing_in_silence() {
    let directory = used().await;
    let path = directory.path().join("journal.redb");
    let whole = fs::read(&path).unwrap();
    let (mut refused, mut unharmed) = (0, 0);
    // A step that meets every page, at another place in each.
    for at in (64..whole.len()).step_by(3989) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&path, &bytes).unwrap();
        match open(directory.path()).await {
            Err(_) => refused += 1,
            // It was in a page that nothing uses.
            Ok(200) => unharmed += 1,
            Ok(left) => panic!("byte {at}: {left} of 200 are left, and nothing is said"),
        }
    }
    println!("{refused} refused, {unharmed} in unused pages");
    assert!(refused > 10);
}

#[tokio::test]
async fn a_later_format_is_refused() {
    let directory = used().await;
    fs::write(directory.path().join("format"), "2\n").unwrap();
    let error = open(directory.path()).await.unwrap_err();
    assert!(matches!(error, DataError::Newer { .. }), "{error}");
}

#[tokio::test]
async fn a_lost_secret_is_not_made_up_again() {
    let directory = used().await;
    fs::remove_file(directory.path().join("id-secret")).unwrap();
    let error = open(directory.path()).await.unwrap_err();
    assert!(matches!(error, DataError::Missing { .. }), "{error}");
}

#[tokio::test]
async fn a_second_one_is_refused() {
    let directory = used().await;
    let first = journal(directory.path()).unwrap();
    let error = journal(directory.path()).unwrap_err();
    let DataError::Journal { source, .. } = &error else {
        panic!("{error}");
    };
    assert!(matches!(source, JournalError::InUse), "{source}");
    drop(first);
    assert_eq!(open(directory.path()).await.unwrap(), 200);
}

/// A file on a disk that can be full.
#[derive(Debug)]
struct SmallDisk {
    file: FileBackend,
    is_full: Arc<AtomicBool>,
}

impl SmallDisk {
    fn room(&self) -> io::Result<()> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl StorageBackend for SmallDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.file.write(offset, data)
    }
}

#[tokio::test]
async fn a_full_disk_blocks_and_passes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.redb");
    let is_full = Arc::new(AtomicBool::new(false));
    let disk = {
        let is_full = Arc::clone(&is_full);
        RedbJournal::with(Box::new(move |builder| {
            let mut options = File::options();
            let file = options.read(true).write(true).create(true).truncate(false);
            builder.create_with_backend(SmallDisk {
                file: FileBackend::new(file.open(&path)?)?,
                is_full: Arc::clone(&is_full),
            })
        }))
    };
    let disk = Arc::new(disk.unwrap());
    let clock = TokioClock::new();
    let broker = broker(clock.clone(), disk).await;
    let bus = broker.bus();
    bus.admin.declare(&Topology::new([])).await.unwrap();
    bus.publisher.publish(message(1)).await.unwrap();

    is_full.store(true, Ordering::Relaxed);
    // Sent, and not known to be there.
    let error = bus.publisher.publish(message(2)).await.unwrap_err();
    assert!(matches!(error, PublishError::Lost(_)), "{error:?}");
    // Refused at once, while it lasts.
    let error = bus.publisher.publish(message(3)).await.unwrap_err();
    let PublishError::Blocked(reason) = error else {
        panic!("{error:?}");
    };
    assert!(reason.contains("journal"), "{reason}");
    assert!(matches!(bus.publisher.state(), BusState::Blocked(_)));

    is_full.store(false, Ordering::Relaxed);
    patiently("space", async {
        while bus.publisher.state() != BusState::Up {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    bus.publisher.publish(message(4)).await.unwrap();
    let held = broker.snapshot();
    assert_eq!(held["jobs.log"].len(), 3, "1, 2 and 4: {held:?}");
    broker.close().await;
    let found = RedbJournal::open(&directory.path().join("journal.redb")).unwrap();
    assert_kept(&broker, clock, Arc::new(found)).await;
}
