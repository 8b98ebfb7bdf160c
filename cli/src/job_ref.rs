//! How a person names a job: its id, the beginning of its id, or `@last`.

use std::str::FromStr;

use vmctl_api_types::JobId;

use crate::{
    api::{Api, ListQuery},
    app::App,
    error::CliError,
    exit::Exit,
    state,
};

/// Shortest accepted beginning of an id.
const MIN_PREFIX: usize = 4;

/// Jobs, newest first, among which a beginning is looked up.
const LOOKED_UP: usize = 1_000;

/// A job as named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobRef {
    /// The whole id.
    Id(JobId),
    /// The last job submitted from here.
    Last,
    /// The beginning of an id.
    Prefix(String),
}

impl FromStr for JobRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim().to_ascii_lowercase();
        if text == "@last" {
            return Ok(Self::Last);
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let looks_like_one = text.len() >= MIN_PREFIX
            && text.len() < 36
            && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        if looks_like_one {
            Ok(Self::Prefix(text))
        } else {
            Err(
                "a job is named by its id, at least 4 characters of its beginning, or @last"
                    .to_owned(),
            )
        }
    }
}

/// Finds the job that each reference names; the same job named twice is one.
pub fn resolve(app: &App, api: &Api, references: &[JobRef]) -> Result<Vec<JobId>, CliError> {
    let mut known: Option<Vec<JobId>> = None;
    let mut ids = Vec::new();
    for reference in references {
        let id = match reference {
            JobRef::Id(id) => *id,
            JobRef::Last => last(app)?,
            JobRef::Prefix(prefix) => {
                if known.is_none() {
                    let query = ListQuery {
                        limit: Some(LOOKED_UP),
                        ..ListQuery::default()
                    };
                    let (jobs, _) = app.block_on(api.list_jobs(&query))??;
                    known = Some(jobs.iter().map(|job| job.job.id).collect());
                }
                matching(prefix, known.as_deref().unwrap_or_default())?
            }
        };
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Finds one job.
pub fn resolve_one(app: &App, api: &Api, reference: &JobRef) -> Result<JobId, CliError> {
    let ids = resolve(app, api, std::slice::from_ref(reference))?;
    ids.first()
        .copied()
        .ok_or_else(|| CliError::new(Exit::NotFound, "no job is named"))
}

fn last(app: &App) -> Result<JobId, CliError> {
    state::last(&app.paths()?.last_job_file).ok_or_else(|| {
        CliError::new(Exit::NotFound, "there is no last job")
            .why("nothing was submitted from this account yet")
            .next("vmctl job list")
    })
}

fn matching(prefix: &str, known: &[JobId]) -> Result<JobId, CliError> {
    let matches: Vec<&JobId> = known
        .iter()
        .filter(|id| id.to_string().starts_with(prefix))
        .collect();
    match matches.as_slice() {
        [id] => Ok(**id),
        [] => Err(
            CliError::new(Exit::NotFound, format!("no job begins with {prefix}"))
                .why(format!(
                    "looked at the {} newest jobs of the project",
                    known.len()
                ))
                .next("give the whole id, or see: vmctl job list"),
        ),
        several => {
            let mut error = CliError::new(
                Exit::Usage,
                format!("{} jobs begin with {prefix}", several.len()),
            );
            error.why = several.iter().take(10).map(ToString::to_string).collect();
            Err(error.next("give more of the id"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_beginnings_and_last_are_told_apart() {
        let id = "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a";
        assert_eq!(id.parse(), Ok(JobRef::Id(id.parse().unwrap())));
        assert_eq!(
            id.to_uppercase().parse(),
            Ok(JobRef::Id(id.parse().unwrap()))
        );
        assert_eq!("@last".parse(), Ok(JobRef::Last));
        assert_eq!(
            "0198F2a4-7".parse(),
            Ok(JobRef::Prefix("0198f2a4-7".to_owned()))
        );
        for bad in [
            "",
            "019",
            "lxweb01",
            "@first",
            "../../etc",
            "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a0",
        ] {
            assert!(bad.parse::<JobRef>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_beginning_must_be_unique() {
        let known: Vec<JobId> = [
            "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a",
            "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6b",
            "7fda68b7-b4de-85a6-99fd-57b019cf19ae",
        ]
        .map(|id| id.parse().unwrap())
        .to_vec();
        assert_eq!(matching("7fda", &known).unwrap(), known[2]);
        let ambiguous = matching("0198", &known).unwrap_err();
        assert_eq!((ambiguous.exit, ambiguous.why.len()), (Exit::Usage, 2));
        assert_eq!(matching("aaaa", &known).unwrap_err().exit, Exit::NotFound);
    }
}
