//! The actions: what may be asked of the API, and who may ask it unless a file says otherwise.

/// What a rule can look at, besides the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Nothing: the same for every project.
    Service,
    /// `project_id`: the caller's own project.
    Project,
    /// `project_id` and `user_id`: whose job it is.
    Job,
}

/// One thing that may be asked for.
#[derive(Debug)]
pub struct Action {
    /// Its name, as a rule is named after it.
    pub name: &'static str,
    /// What it lets the caller do.
    pub about: &'static str,
    /// Methods and paths; none for what a route allows besides.
    pub routes: &'static [(&'static str, &'static str)],
    /// What its rule can look at.
    pub scope: Scope,
    /// Its rule unless a file has another.
    pub default: &'static str,
}

/// Whether the caller's rights reach over all projects in the routes of those who run the service.
pub const ALL_PROJECTS: &str = "admin:all_projects";

/// Rules that others refer to; a file may replace them and add more.
pub const ALIASES: [(&str, &str); 2] = [
    ("owner", "project_id:%(project_id)s"),
    ("operator", "role:admin and is_admin_project:True"),
];

const ANYBODY: &str = "@";
const READER: &str = "role:reader and rule:owner";
const MEMBER: &str = "role:member and rule:owner";
const ADMIN: &str = "role:admin";

macro_rules! actions {
    ($($name:literal, $scope:ident, $default:expr, $about:literal, [$($method:literal $path:literal),*];)*) => {
        /// Every action, in the order of the documentation.
        pub const ACTIONS: &[Action] = &[$(Action {
            name: $name,
            about: $about,
            routes: &[$(($method, $path)),*],
            scope: Scope::$scope,
            default: $default,
        }),*];
    };
}

actions! {
    // A kind's own role is asked for besides.
    "job:create", Project, READER, "Submit a job", ["POST" "/v1/jobs"];
    "job:list", Project, READER, "List the project's jobs", ["GET" "/v1/jobs"];
    "job:get", Job, READER, "Look a job up", ["GET" "/v1/jobs/{id}"];
    "job:result", Job, READER, "Fetch a job's output", ["GET" "/v1/jobs/{id}/result"];
    "job:events", Job, READER, "Read or follow a job's history", ["GET" "/v1/jobs/{id}/events"];
    "job:logs", Job, READER, "Read or follow a job's log", ["GET" "/v1/jobs/{id}/logs"];
    "job:children", Job, READER, "List the jobs that a job has asked for", ["GET" "/v1/jobs/{id}/children"];
    "job:stream", Job, READER, "Follow some jobs, or the project's", ["GET" "/v1/events"];
    "job:cancel", Job, MEMBER, "Ask to cancel a job", ["POST" "/v1/jobs/{id}/cancel"];
    "job:retry", Job, MEMBER, "Run an ended job again", ["POST" "/v1/jobs/{id}/retry"];
    "callback:list", Job, READER, "List a job's callbacks", ["GET" "/v1/jobs/{id}/callbacks"];
    "callback:redeliver", Job, MEMBER, "Deliver a callback again", ["POST" "/v1/jobs/{id}/callbacks/{cid}/redeliver"];
    "vm:create", Project, READER, "Create a machine, in the original's words", ["POST" "/v1/vm/", "POST" "/v1/vm"];
    "vm:delete", Project, READER, "Delete a machine, in the original's words", ["DELETE" "/v1/vm/", "DELETE" "/v1/vm"];
    "vm:get", Job, READER, "Look a creation up, in the original's words", ["GET" "/v1/vm/{uuid}"];
    "quota:get", Project, READER, "Show the project's quota", ["GET" "/v1/quota"];
    "sync:call", Project, READER, "Ask a synchronous kind",
        ["GET" "/v1/sync/{name}", "POST" "/v1/sync/{name}", "PUT" "/v1/sync/{name}", "PATCH" "/v1/sync/{name}", "DELETE" "/v1/sync/{name}"];
    "kind:list", Service, ANYBODY, "List the kinds", ["GET" "/v1/kinds"];
    "kind:get", Service, ANYBODY, "Look a kind up", ["GET" "/v1/kinds/{kind}"];
    "profile:list", Service, ANYBODY, "List the profiles", ["GET" "/v1/profiles"];
    "region:list", Service, ANYBODY, "List the regions", ["GET" "/v1/regions"];
    "audit:list", Project, ADMIN, "Show who asked for changes lately", ["GET" "/v1/admin/audit"];
    "dead:list", Project, ADMIN, "List jobs that have failed for good", ["GET" "/v1/admin/dead"];
    "dead:replay", Project, ADMIN, "Run jobs again that have failed for good", ["POST" "/v1/admin/dead/replay"];
    "queue:list", Project, ADMIN, "Show the queues of the broker", ["GET" "/v1/admin/queues"];
    "worker:list", Project, ADMIN, "Show which workers live", ["GET" "/v1/admin/workers"];
    // Of `ALL_PROJECTS`.
    "admin:all_projects", Project, "rule:operator", "See and run jobs of all projects in `/v1/admin`", [];
}

/// Finds the action of a route. `HEAD` is `GET` without the body.
pub fn of_route(method: &str, path: &str) -> Option<&'static Action> {
    let method = if method == "HEAD" { "GET" } else { method };
    ACTIONS
        .iter()
        .find(|action| action.routes.contains(&(method, path)))
}
