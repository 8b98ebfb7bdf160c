//! The files of the simulation. Everything here blocks.
//!
//! ```text
//! machines/<job>.json     what exists, and which phase it is in
//! tombstones/<job>.json   what existed
//! names/<hash>.json       which job's machine has a host name
//! failures/<phase>        how often the phase was made to fail
//! effects.jsonl           what was done, one line each, by whom and when
//! locks/, tmp/
//! ```
//!
//! Files appear whole: they are written elsewhere and then linked or renamed. Whoever changes a
//! machine holds the lock of its part of the directory, which the system gives back when its
//! process dies.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, ErrorKind, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use vmctl_core::{
    JobId,
    clock::{self, Clock},
    partition::Partition,
};

use crate::provisioner::{Call, Deletion, TOMBSTONE_TTL, Vm, VmSpec};

/// After this time a temporary file belongs to a process that died.
const STALE_TMP: Duration = Duration::from_secs(3600);

/// A machine on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) spec: VmSpec,
    pub(super) created_at: Timestamp,
    /// How many phases are over.
    pub(super) done: usize,
    /// The phase that it is in, for people.
    pub(super) phase: String,
    /// Since when.
    pub(super) since: Timestamp,
    /// Whether it is switched on.
    pub(super) on: bool,
    /// The run of its job that made it.
    #[serde(default)]
    pub(super) made_in: u32,
    /// The newest run of its job that went on with it.
    #[serde(default)]
    pub(super) run: u32,
}

impl Machine {
    /// Returns its address: made from its identity, so that it never changes.
    fn ip(&self) -> String {
        let [.., a, b, c] = *self.spec.job.as_uuid().as_bytes();
        format!("10.{a}.{b}.{c}")
    }

    pub(super) fn vm(self, deleted: Option<Deletion>) -> Vm {
        Vm {
            ip: Some(self.ip()),
            created_at: self.created_at,
            spec: self.spec,
            deleted,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Tombstone {
    deletion: Deletion,
    machine: Option<Machine>,
}

/// One line of the effect log.
#[derive(Debug, Serialize)]
struct Effect<'a> {
    time: Timestamp,
    job: JobId,
    epoch: u32,
    attempt: u32,
    worker: &'a str,
    pid: u32,
    phase: &'a str,
    what: &'a str,
}

/// What a line of the effect log says.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    /// A phase is entered, by this process.
    Start,
    /// A machine was made: once in its life.
    Effect,
    /// A phase is over: once in a machine's life.
    End,
    /// A machine was removed: once in its life.
    Delete,
}

pub(super) struct Files {
    directory: PathBuf,
    clock: Arc<dyn Clock>,
}

impl Files {
    /// Makes the directory where it is missing, and removes what has expired.
    pub(super) fn open(directory: &Path, clock: Arc<dyn Clock>) -> io::Result<Self> {
        for name in [
            "machines",
            "tombstones",
            "names",
            "failures",
            "locks",
            "tmp",
        ] {
            fs::create_dir_all(directory.join(name))?;
        }
        let files = Self {
            directory: directory.to_owned(),
            clock,
        };
        files.sweep(files.clock.now())?;
        Ok(files)
    }

    fn sweep(&self, now: Timestamp) -> io::Result<()> {
        for entry in fs::read_dir(self.directory.join("tmp"))? {
            let entry = entry?;
            let age = entry.metadata().and_then(|m| m.modified());
            let age = age.map(|at| SystemTime::elapsed(&at).unwrap_or_default());
            if age.is_ok_and(|age| age > STALE_TMP) {
                ignore_missing(fs::remove_file(entry.path()))?;
            }
        }
        for path in json_files(&self.directory.join("tombstones"))? {
            let expired = read::<Tombstone>(&path)?
                .is_some_and(|tombstone| clock::add(tombstone.deletion.at, TOMBSTONE_TTL) <= now);
            if expired {
                ignore_missing(fs::remove_file(&path))?;
            }
        }
        Ok(())
    }

    /// Locks the part of the directory that the job belongs to until the guard is dropped.
    pub(super) fn lock(&self, job: JobId) -> io::Result<File> {
        self.lock_file(&Partition::of(job).to_string())
    }

    pub(super) fn lock_file(&self, name: &str) -> io::Result<File> {
        let path = self.directory.join("locks").join(name);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        file.lock()?;
        Ok(file)
    }

    pub(super) fn machine(&self, job: JobId) -> io::Result<Option<Machine>> {
        read(&self.machine_path(job))
    }

    /// Makes a machine; false when there is one.
    pub(super) fn create(&self, machine: &Machine) -> io::Result<bool> {
        self.place(&self.machine_path(machine.spec.job), machine)
    }

    /// Writes a machine that exists anew.
    pub(super) fn replace(&self, machine: &Machine) -> io::Result<()> {
        let tmp = self.write_tmp(machine)?;
        fs::rename(tmp, self.machine_path(machine.spec.job))
    }

    pub(super) fn deletion(&self, job: JobId) -> io::Result<Option<Deletion>> {
        Ok(read::<Tombstone>(&self.tombstone_path(job))?.map(|t| t.deletion))
    }

    /// Removes the tombstone that the job itself has left in an earlier run than this one.
    pub(super) fn forget_earlier(&self, job: JobId, call: &Call) -> io::Result<()> {
        let deletion = self.deletion(job)?;
        let earlier = |d: &Deletion| d.by == job && call.job == job && d.epoch < call.epoch;
        if deletion.as_ref().is_some_and(earlier) {
            // What it was left for first, should whoever left it have died in between.
            ignore_missing(fs::remove_file(self.machine_path(job)))?;
            ignore_missing(fs::remove_file(self.tombstone_path(job)))?;
        }
        Ok(())
    }

    /// Removes a machine and leaves a tombstone. Returns the first deletion there was, and whether
    /// it was this one.
    pub(super) fn bury(
        &self,
        job: JobId,
        call: &Call,
        at: Timestamp,
    ) -> io::Result<(Deletion, bool)> {
        let machine = self.machine(job)?;
        let mut deletion = Deletion {
            at,
            by: call.job,
            epoch: call.epoch,
            existed: machine.is_some(),
        };
        let of_later_run = |machine: &Machine| machine.run > call.epoch;
        if call.job == job && machine.as_ref().is_some_and(of_later_run) {
            deletion.existed = false;
            return Ok((deletion, false));
        }
        let tombstone = Tombstone {
            deletion: deletion.clone(),
            machine,
        };
        let first = self.place(&self.tombstone_path(job), &tombstone)?;
        if let Some(machine) = &tombstone.machine {
            self.free_name(&machine.spec)?;
        }
        // Also when the tombstone was there: whoever left it may have died before this.
        ignore_missing(fs::remove_file(self.machine_path(job)))?;
        if first {
            return Ok((deletion, true));
        }
        Ok((self.deletion(job)?.unwrap_or(deletion), false))
    }

    /// Returns what exists and what existed.
    pub(super) fn list(&self) -> io::Result<Vec<Vm>> {
        let mut vms = Vec::new();
        for path in json_files(&self.directory.join("machines"))? {
            if let Some(machine) = read::<Machine>(&path)?
                && self.deletion(machine.spec.job)?.is_none()
            {
                vms.push(machine.vm(None));
            }
        }
        for path in json_files(&self.directory.join("tombstones"))? {
            if let Some(tombstone) = read::<Tombstone>(&path)?
                && let Some(machine) = tombstone.machine
            {
                vms.push(machine.vm(Some(tombstone.deletion)));
            }
        }
        Ok(vms)
    }

    /// Counts one more failure of a phase; false when there were `most` already.
    pub(super) fn fail(&self, phase: &str, most: Option<u32>) -> io::Result<bool> {
        let Some(most) = most else { return Ok(true) };
        let _guard = self.lock_file("failures")?;
        let path = self.directory.join("failures").join(phase);
        let count: u32 = read(&path)?.unwrap_or(0);
        if count >= most {
            return Ok(false);
        }
        let tmp = self.write_tmp(&(count + 1))?;
        fs::rename(tmp, path)?;
        Ok(true)
    }

    /// Says whether the effect log has the line of a machine that was made in this run or later. Reads the whole log: for the rare case that
    /// a phase is entered again.
    pub(super) fn has_effect(&self, job: JobId, made_in: u32) -> io::Result<bool> {
        #[derive(Deserialize)]
        struct Line {
            job: JobId,
            epoch: u32,
            what: String,
        }
        let file = match File::open(self.directory.join("effects.jsonl")) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        for line in BufReader::new(file).lines() {
            let line = serde_json::from_str::<Line>(&line?);
            let is_it =
                |line: Line| line.job == job && line.epoch >= made_in && line.what == "effect";
            if line.is_ok_and(is_it) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Appends lines to the effect log, in one write.
    pub(super) fn note(
        &self,
        call: &Call,
        job: JobId,
        notes: &[(&str, What)],
        time: Timestamp,
    ) -> io::Result<()> {
        let mut lines = Vec::new();
        for &(phase, what) in notes {
            let effect = Effect {
                time,
                job,
                epoch: call.epoch,
                attempt: call.attempt,
                worker: &call.worker,
                pid: std::process::id(),
                phase,
                what: match what {
                    What::Start => "start",
                    What::Effect => "effect",
                    What::End => "end",
                    What::Delete => "delete",
                },
            };
            serde_json::to_writer(&mut lines, &effect)?;
            lines.push(b'\n');
        }
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.join("effects.jsonl"))?
            .write_all(&lines)
    }

    /// Says whether files can be made.
    pub(super) fn probe(&self) -> io::Result<()> {
        fs::remove_file(self.write_tmp(&())?)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn machine_path(&self, job: JobId) -> PathBuf {
        self.directory.join("machines").join(format!("{job}.json"))
    }

    fn tombstone_path(&self, job: JobId) -> PathBuf {
        self.directory
            .join("tombstones")
            .join(format!("{job}.json"))
    }

    /// Writes a file that must not exist; false when it does.
    pub(super) fn place(&self, path: &Path, value: &impl Serialize) -> io::Result<bool> {
        let tmp = self.write_tmp(value)?;
        let linked = fs::hard_link(&tmp, path);
        fs::remove_file(tmp)?;
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn write_tmp(&self, value: &impl Serialize) -> io::Result<PathBuf> {
        let path = self
            .directory
            .join("tmp")
            .join(clock::new_uuid(&*self.clock).to_string());
        fs::write(&path, serde_json::to_vec(value)?)?;
        Ok(path)
    }
}

pub(super) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn json_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "json") {
            paths.push(path);
        }
    }
    Ok(paths)
}

pub(super) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
