//! What handlers tell the audit while they run.

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    extract::FromRequestParts,
    http::{Extensions, request::Parts},
};
use vmctl_api_types::{Audit, AuditWho, JobId, Kind};
use vmctl_core::identity::AuthContext;

/// A request's trail; clones are the same one. Where nothing is audited it leads nowhere.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trail(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    who: Option<AuditWho>,
    job: Option<JobId>,
    kind: Option<Kind>,
    from: Option<IpAddr>,
    changes_nothing: bool,
}

impl Trail {
    /// Returns the trail of a request.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a trail that comes from this address.
    pub(super) fn from_address(from: Option<IpAddr>) -> Self {
        let told = Told {
            from,
            ..Told::default()
        };
        Self(Arc::new(Mutex::new(told)))
    }

    /// Returns the address that the request comes from.
    pub fn from(&self) -> Option<IpAddr> {
        self.told().from
    }

    /// The caller is this one.
    pub fn who(&self, context: &AuthContext) {
        self.told().who = Some(who(context));
    }

    /// It is about this job.
    pub fn job(&self, id: JobId) {
        self.told().job = Some(id);
    }

    /// It is about a job of this kind, or this synchronous kind.
    pub fn kind(&self, kind: &Kind) {
        self.told().kind = Some(kind.clone());
    }

    /// Nothing would be changed, for all that the route says.
    pub fn changes_nothing(&self) {
        self.told().changes_nothing = true;
    }

    /// Adds what was told to an entry. Says whether it is one.
    pub(super) fn complete(&self, entry: &mut Audit) -> bool {
        let mut told = self.told();
        entry.who = told.who.take();
        entry.kind = told.kind.take();
        entry.job_id = entry.job_id.or(told.job);
        !told.changes_nothing
    }
}

/// Describes a caller.
pub(crate) fn who(context: &AuthContext) -> AuditWho {
    AuditWho {
        user_id: context.user_id.clone(),
        user_name: context.user_name.clone(),
        project_id: context.project.as_ref().map(|project| project.id.clone()),
        roles: context.roles.clone(),
        methods: context.methods.clone(),
    }
}

impl<S: Sync> FromRequestParts<S> for Trail {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}
