//! The identity contract on memory.

use std::{sync::Arc, time::Duration};

use vmctl_core::{
    clock::{ManualClock, from_unix_ms},
    identity::{Identity as _, IdentityError, Login},
    memory::identity::{InMemoryIdentity, PlainPassword, User},
    testing,
};

fn joe(clock: Arc<ManualClock>) -> InMemoryIdentity {
    let user = User {
        name: "joe".into(),
        project: "demo".into(),
        roles: vec!["member".into()],
        password: Arc::new(PlainPassword("1234".to_owned().into())),
    };
    InMemoryIdentity::new([user], clock)
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(from_unix_ms(1_795_000_000_000)))
}

#[tokio::test]
async fn contract() {
    testing::identity::all(&joe(clock())).await;
}

#[tokio::test]
async fn a_token_expires() {
    let clock = clock();
    let identity = joe(Arc::clone(&clock));
    let login = Login {
        user: "joe".into(),
        password: "1234".to_owned().into(),
        project: Some("demo".into()),
        domain: None,
    };
    let (token, _) = identity.authenticate(&login).await.unwrap();
    clock.advance(Duration::from_secs(3599));
    assert!(identity.validate(&token).await.is_ok());
    clock.advance(Duration::from_secs(1));
    let error = identity.validate(&token).await.unwrap_err();
    assert!(matches!(error, IdentityError::Invalid));
}

#[test]
fn neither_users_nor_tokens_print_secrets() {
    let identity = joe(clock());
    assert!(!format!("{identity:?}").contains("1234"));
}
