//! What travels over HTTP between `vmctl` and its server.
//!
//! Types only: no I/O and no policy. Both sides compile against the same definitions, and the
//! server derives its OpenAPI document from them (feature `openapi`). Unknown fields in a response
//! are ignored by clients, so a server may add fields within `v1`.

mod admin;
mod audit;
mod callback;
mod catalog;
mod compat;
mod discovery;
mod ids;
mod job;
mod log;
mod machine;
mod problem;
mod quota;
mod stream;
mod text;
mod worker;

pub use admin::{
    DeadJob, DeadList, QueueInfo, QueueList, QueueState, ReplayRequest, ReplayResult, Replayed,
};
pub use audit::{Audit, AuditEntry, AuditList, AuditOutcome, AuditWho};
pub use callback::{
    Callback, CallbackDelivery, CallbackEvent, CallbackList, CallbackState, CallbackStatus,
};
pub use catalog::{
    KindInfo, KindList, KindMode, KindQueue, Profile, ProfileList, Region, RegionList, RetryInfo,
    RetryRuleInfo,
};
pub use compat::{
    Access, AccessResponse, AccessRole, AccessTenant, AccessToken, AccessUser, CompatState,
    ConnectRequest, Hello, TestTokenRequest, VmAccepted, VmDeleteRequest, VmRequest, VmView,
};
pub use discovery::{AuthDiscovery, Discovery};
pub use ids::{JobId, Kind, ParseIdError};
pub use job::{
    CancelRequest, Compensation, InLine, Job, JobError, JobEvent, JobEventList, JobLinks, JobList,
    JobState, Owner, ParseStateError, Progress, RetryRequest, SubmitRequest, UniqueRequest,
};
pub use log::{LineId, LogEnd, LogLine, LogStream, ParseLineIdError};
pub use machine::{Machine, MachineList, MachineState};
pub use problem::{FieldError, Problem, ProblemType};
pub use quota::{ActiveJobs, Quota, SubmitQuota};
pub use stream::{StreamEvent, StreamEventData, StreamGap};
pub use text::is_unsafe;
pub use worker::{JobInHand, Presence, ServedKind, WorkerInfo, WorkerList, WorkerState};
