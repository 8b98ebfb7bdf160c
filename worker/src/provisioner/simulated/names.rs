//! Host names of machines: one machine in a project has a name at a time, in whatever letters.
//!
//! A name is a file with the job that has it. Whoever takes or frees one holds the lock of its part of
//! the names until the machine is there: a name whose job has no machine then belongs to nobody.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io,
    path::PathBuf,
};

use sha2::{Digest, Sha256};
use vmctl_core::JobId;

use super::files::{Files, ignore_missing, read};
use crate::provisioner::VmSpec;

impl Files {
    /// Takes the name of a machine that is about to be made; an error inside names the job whose machine
    /// has it. Make the machine before the guard is dropped.
    pub(super) fn take_name(&self, spec: &VmSpec) -> io::Result<Result<File, JobId>> {
        let (guard, path) = self.name(spec)?;
        if let Some(job) = read::<JobId>(&path)?
            && job != spec.job
        {
            if self.machine(job)?.is_some() && self.deletion(job)?.is_none() {
                return Ok(Err(job));
            }
            ignore_missing(fs::remove_file(&path))?;
        }
        self.place(&path, &spec.job)?;
        Ok(Ok(guard))
    }

    /// Frees the name of a machine, unless another one has it.
    pub(super) fn free_name(&self, spec: &VmSpec) -> io::Result<()> {
        let (_guard, path) = self.name(spec)?;
        if read::<JobId>(&path)? == Some(spec.job) {
            ignore_missing(fs::remove_file(&path))?;
        }
        Ok(())
    }

    /// Locks a name; returns its file too.
    fn name(&self, spec: &VmSpec) -> io::Result<(File, PathBuf)> {
        let mut hash = Sha256::new();
        hash.update(spec.project_id.as_bytes());
        hash.update([0]);
        hash.update(spec.hostname.to_ascii_lowercase());
        let hash = hash.finalize();
        let name = hash.iter().fold(String::new(), |mut name, byte| {
            // Writing to a text does not fail.
            let _ = write!(name, "{byte:02x}");
            name
        });
        // As many locks as there are for machines.
        let guard = self.lock_file(&format!("name-{}", hash[0] % 64))?;
        Ok((guard, self.path("names").join(format!("{name}.json"))))
    }
}
