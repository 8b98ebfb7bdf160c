//! Whose jobs a caller may see or change, by the policy's rule for what is asked.

use vmctl_api_types::ProblemType;
use vmctl_core::{identity::AuthContext, record::Record};

use crate::{
    app::App,
    error::ApiError,
    policy::{Action, Credentials, Policy, Scope, Target},
};

/// The right to ask for one action.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    policy: Policy,
    action: &'static Action,
    who: Credentials,
}

impl Access {
    /// Looks whether the caller may ask for the action at all: whoever may not do it to a job of its own
    /// is refused before a job is looked up, so that the answer is the same for every id.
    pub fn check(
        app: &App,
        action: &'static Action,
        context: &AuthContext,
    ) -> Result<Self, ApiError> {
        let access = Self::new(app, action, context);
        let own = Target {
            user_id: Some(&access.who.context.user_id),
            ..access.project()
        };
        let target = match action.scope {
            Scope::Service => Target::default(),
            Scope::Project => access.project(),
            Scope::Job => own,
        };
        let may = access.policy.allows(action.name, &access.who, target);
        if may {
            Ok(access)
        } else {
            Err(access.refuse())
        }
    }

    /// Looks whether a caller may ask for the same.
    pub fn renewed(&self, app: &App, context: &AuthContext) -> Result<Self, ApiError> {
        Self::check(app, self.action, context)
    }

    fn new(app: &App, action: &'static Action, context: &AuthContext) -> Self {
        let project = context.project.as_ref().map(|project| &project.id);
        Self {
            policy: app.config.policy.clone(),
            action,
            who: Credentials {
                is_admin_project: project.is_some() && project == app.config.admin_project.as_ref(),
                context: context.clone(),
            },
        }
    }

    fn project(&self) -> Target<'_> {
        let project = self.who.context.project.as_ref();
        Target {
            project_id: project.map(|project| project.id.as_str()),
            user_id: None,
        }
    }

    /// Says whether another action is allowed too, for the whole project.
    pub fn has(&self, action: &str) -> bool {
        self.policy.allows(action, &self.who, self.project())
    }

    /// Refuses a caller who may not do it to every job of the project.
    pub fn check_project(&self) -> Result<(), ApiError> {
        if self.has(self.action.name) {
            Ok(())
        } else {
            Err(self.refuse())
        }
    }

    /// Says whether the caller is told of the job: it is one of the own project, or the rule allows it.
    pub fn knows(&self, record: &Record) -> bool {
        let own = self.project().project_id;
        record.project().is_some() && (record.project() == own || self.allows(record))
    }

    /// Refuses a job of which the caller is told and that the rule does not allow.
    pub fn check_job(&self, record: &Record) -> Result<(), ApiError> {
        if self.allows(record) {
            Ok(())
        } else {
            Err(self.refuse())
        }
    }

    fn allows(&self, record: &Record) -> bool {
        let auth = record.spec.as_ref().map(|submission| &submission.spec.auth);
        auth.is_some_and(|auth| {
            let target = Target {
                project_id: Some(&auth.project_id),
                user_id: Some(&auth.user_id),
            };
            self.policy.allows(self.action.name, &self.who, target)
        })
    }

    fn refuse(&self) -> ApiError {
        let name = self.action.name;
        ApiError::new(ProblemType::Forbidden).detail(format!("the policy does not allow {name}"))
    }
}
