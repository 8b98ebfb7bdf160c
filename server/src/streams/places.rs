//! Places for streams: so many on a server, so many for each project.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vmctl_api_types::ProblemType;

use crate::{app::App, error::ApiError};

/// The places of one server.
pub(crate) struct Places {
    all: Arc<Semaphore>,
    each: usize,
    projects: Arc<Mutex<Projects>>,
}

/// How many places each project has taken.
type Projects = HashMap<String, usize>;

/// A place among the open streams.
pub(crate) struct Place {
    project: String,
    projects: Arc<Mutex<Projects>>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// Makes places for so many streams, and for so many of each project.
    pub fn new(all: usize, each: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            each,
            projects: Arc::default(),
        }
    }

    /// Returns how many more streams may be opened.
    #[cfg(test)]
    pub fn free(&self) -> usize {
        self.all.available_permits()
    }
}

impl Place {
    /// Takes one for a project, or says that there is none.
    pub fn take(app: &App, project: &str) -> Result<Self, ApiError> {
        let places = &app.streams;
        let Ok(permit) = Arc::clone(&places.all).try_acquire_owned() else {
            return Err(refused(ProblemType::Overloaded)
                .detail("as many streams are open as this server carries"));
        };
        let mut projects = lock(&places.projects);
        let taken = projects.entry(project.to_owned()).or_default();
        if *taken >= places.each {
            return Err(refused(ProblemType::TooManyStreams)
                .detail(format!("the project has {taken} streams open here")));
        }
        *taken += 1;
        drop(projects);
        metrics::gauge!("event_streams_open").increment(1);
        Ok(Self {
            project: project.to_owned(),
            projects: Arc::clone(&places.projects),
            _permit: permit,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::gauge!("event_streams_open").decrement(1);
        if let Entry::Occupied(mut taken) =
            lock(&self.projects).entry(std::mem::take(&mut self.project))
        {
            *taken.get_mut() -= 1;
            if *taken.get() == 0 {
                taken.remove();
            }
        }
    }
}

fn refused(problem: ProblemType) -> ApiError {
    metrics::counter!("event_streams_refused_total").increment(1);
    ApiError::new(problem).retry_after(5)
}

fn lock(projects: &Mutex<Projects>) -> MutexGuard<'_, Projects> {
    // Each change is one statement, so a panic leaves the map whole.
    projects.lock().unwrap_or_else(PoisonError::into_inner)
}
