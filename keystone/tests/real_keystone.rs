//! The client against a real Keystone: every answer that the product depends on.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, helpers included"
)]

mod common;

use std::time::Duration;

use common::*;
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};
use vmctl_keystone::{
    Client, Error, Login, Method, NewApplicationCredential, Options, Outcome, Scope, Token,
    TokenScope, UserRef,
};

/// A name that no other run uses.
fn unique(prefix: &str) -> String {
    format!("{prefix}-{}-{}", std::process::id(), now().as_nanosecond())
}

#[tokio::test]
async fn a_password_login_in_a_project() {
    let Some(client) = keystone() else { return };
    let before = now();
    let authenticated = joe(&client).await;
    let info = &authenticated.info;

    assert_eq!(info.user.name, setting("VMCTL_TEST_USER"));
    assert_eq!(info.user.domain.name, "Default");
    assert_eq!(info.project().unwrap().name, setting("VMCTL_TEST_PROJECT"));
    assert!(info.roles.iter().any(|role| role.name == "member"));
    assert_eq!(info.methods, ["password"]);
    assert!(info.expires_at > before && info.issued_at < info.expires_at);
    assert_eq!(info.application_credential_id, None);
}

#[tokio::test]
async fn scopes() {
    let Some(client) = keystone() else { return };
    let login = |scope| by_password("joe", "1234", scope);

    let default = log_in(&client, &login(Scope::UserDefault)).await;
    assert_eq!(default.info.project().unwrap().name, "demo");
    let unscoped = log_in(&client, &login(Scope::Unscoped)).await;
    assert_eq!(unscoped.info.scope, TokenScope::Unscoped);
    assert!(unscoped.info.roles.is_empty());
    // A project where the user has no role is refused like a wrong password.
    assert!(is_refused(
        &client.authenticate(&login(project("other"))).await
    ));

    // A token gets another scope, and keeps its end.
    let rescope = Login::new(Method::Token(unscoped.token), project("demo"));
    let rescoped = log_in(&client, &rescope).await;
    assert_eq!(rescoped.info.project().unwrap().name, "demo");
    assert_eq!(rescoped.info.expires_at, unscoped.info.expires_at);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_refused_alike() {
    let Some(client) = keystone() else { return };
    for (name, password) in [
        ("joe", "wrong"),
        (unique("nobody").as_str(), "1234"),
        ("joe", ""),
    ] {
        let result = client
            .authenticate(&by_password(name, password, Scope::UserDefault))
            .await;
        assert!(is_refused(&result), "{result:?}");
    }
}

#[tokio::test]
async fn a_malformed_login_is_not_a_refusal() {
    let Some(client) = keystone() else { return };
    let nobody = UserRef::Id(String::new());
    let login = Login::password(nobody, "1234".into(), Scope::UserDefault);
    let result = client.authenticate(&login).await;
    assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
}

#[tokio::test]
async fn what_a_login_names_and_keystone_does_not_have_is_refused() {
    let Some(client) = keystone() else { return };
    let credential = Method::ApplicationCredential {
        id: "a".repeat(32),
        secret: "s".into(),
    };
    let token = Method::Token(Token::parse("unknown").unwrap());
    // Keystone answers 404 to these two, 401 to the third.
    let logins = [
        Login::new(credential, Scope::UserDefault),
        Login::new(token, Scope::UserDefault),
        by_password("joe", "1234", project("nonexistent")),
    ];
    for login in logins {
        let result = client.authenticate(&login).await;
        assert!(is_refused(&result), "{result:?}");
    }
}

#[tokio::test]
async fn two_factors_step_by_step() {
    let Some(client) = keystone() else { return };
    let name = setting("VMCTL_TEST_MFA_USER");
    let first = by_password(&name, "1234", project("demo"));
    let Ok(Outcome::MfaRequired(required)) = client.authenticate(&first).await else {
        panic!("one factor was enough");
    };
    assert_eq!(required.methods, ["password"]);
    assert_eq!(required.rules, [["password", "totp"]]);
    assert_eq!(required.missing(), [["totp"]]);
    assert!(required.expires_at > now());

    let second = |passcode: String| Login {
        methods: vec![Method::Totp {
            user: user(&name),
            passcode: passcode.into(),
        }],
        scope: project("demo"),
        receipt: Some(required.receipt.clone()),
    };
    let wrong = client.authenticate(&second("000000x".into())).await;
    assert!(is_refused(&wrong), "{wrong:?}");
    let code = totp::code(&setting("VMCTL_TEST_MFA_SECRET"), now());
    let done = log_in(&client, &second(code)).await;
    assert_eq!(done.info.project().unwrap().name, "demo");
    let mut methods = done.info.methods.clone();
    methods.sort();
    assert_eq!(methods, ["password", "totp"]);
}

#[tokio::test]
async fn two_factors_at_once() {
    let Some(client) = keystone() else { return };
    let name = setting("VMCTL_TEST_MFA_USER");
    let mut login = by_password(&name, "1234", project("demo"));
    let passcode = totp::code(&setting("VMCTL_TEST_MFA_SECRET"), now()).into();
    login.methods.push(Method::Totp {
        user: user(&name),
        passcode,
    });
    assert_eq!(log_in(&client, &login).await.info.user.name, name);

    let mut wrong = by_password(&name, "wrong", project("demo"));
    wrong.methods.push(login.methods[1].clone());
    assert!(is_refused(&client.authenticate(&wrong).await));
}

#[tokio::test]
async fn a_service_validates_a_users_token() {
    let Some(client) = keystone() else { return };
    let (service, joe) = (service(&client).await, joe(&client).await);
    let info = client
        .validate(&service.token, &joe.token)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(info, joe.info);
}

#[tokio::test]
async fn a_token_that_is_not_valid_is_none() {
    let Some(client) = keystone() else { return };
    let service = service(&client).await;
    let joe = joe(&client).await;
    let mut altered = joe.token.expose().to_owned();
    altered.replace_range(100..104, "AAAA");
    for text in ["unknown", &altered, &"a".repeat(200)] {
        let subject = Token::parse(text).unwrap();
        assert_eq!(
            client.validate(&service.token, &subject).await.unwrap(),
            None,
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_bad_service_token_is_our_problem_not_the_users() {
    let Some(client) = keystone() else { return };
    let joe = joe(&client).await;
    let bad = Token::parse("bad").unwrap();
    let result = client.validate(&bad, &joe.token).await;
    assert!(is_refused(&result), "{result:?}");
}

#[tokio::test]
async fn a_plain_member_may_not_validate_anothers_token() {
    let Some(client) = keystone() else { return };
    let ann = setting("VMCTL_TEST_OTHER_USER");
    let ann = log_in(&client, &by_password(&ann, "1234", Scope::UserDefault)).await;
    let joe = joe(&client).await;
    let result = client.validate(&ann.token, &joe.token).await;
    assert!(matches!(result, Err(Error::Forbidden)), "{result:?}");
}

#[tokio::test]
async fn a_revoked_token_is_none_and_revoking_again_says_so() {
    let Some(client) = keystone() else { return };
    let (service, joe) = (service(&client).await, joe(&client).await);
    client.revoke(&joe.token, &joe.token).await.unwrap();
    assert_eq!(
        client.validate(&service.token, &joe.token).await.unwrap(),
        None
    );
    // It cannot vouch for itself any more …
    assert!(is_refused(&client.revoke(&joe.token, &joe.token).await));
    // … and for someone who can, the goal is reached already.
    let administrator = administrator(&client).await;
    client
        .revoke(&administrator.token, &joe.token)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_application_credential_logs_in_until_it_is_deleted() {
    let Some(client) = keystone() else { return };
    let (service, joe) = (service(&client).await, joe(&client).await);
    let expires_at: Timestamp = "2099-01-02T03:04:05Z".parse().unwrap();
    let new = NewApplicationCredential {
        name: unique("test"),
        description: Some("made by a test".into()),
        expires_at: Some(expires_at),
        roles: vec!["reader".into()],
    };
    let user_id = &joe.info.user.id;
    let made = client
        .create_application_credential(&joe.token, user_id, &new)
        .await
        .unwrap();
    assert_eq!(made.name, new.name);
    assert_eq!(made.project_id, joe.info.project().unwrap().id);
    assert_eq!(made.expires_at, Some(expires_at));
    let again = client
        .create_application_credential(&joe.token, user_id, &new)
        .await;
    assert!(matches!(again, Err(Error::Conflict)), "{again:?}");

    let by_id = Method::ApplicationCredential {
        id: made.id.clone(),
        secret: made.secret.clone(),
    };
    // The scope is fixed; the one that is asked for is not sent.
    let login = Login::new(by_id, project("other"));
    let session = log_in(&client, &login).await;
    assert_eq!(session.info.project(), joe.info.project());
    assert_eq!(
        session.info.application_credential_id.as_deref(),
        Some(made.id.as_str())
    );
    let roles: Vec<_> = session
        .info
        .roles
        .iter()
        .map(|role| role.name.as_str())
        .collect();
    assert_eq!(roles, ["reader"]);

    let by_name = Method::NamedApplicationCredential {
        user: user("joe"),
        name: made.name,
        secret: made.secret.clone(),
    };
    log_in(&client, &Login::new(by_name, Scope::UserDefault)).await;
    let wrong = Method::ApplicationCredential {
        id: made.id.clone(),
        secret: "wrong".into(),
    };
    assert!(is_refused(
        &client
            .authenticate(&Login::new(wrong, Scope::UserDefault))
            .await
    ));

    client
        .delete_application_credential(&joe.token, user_id, &made.id)
        .await
        .unwrap();
    assert_eq!(
        client
            .validate(&service.token, &session.token)
            .await
            .unwrap(),
        None
    );
    assert!(is_refused(&client.authenticate(&login).await));
    let gone = client
        .delete_application_credential(&joe.token, user_id, &made.id)
        .await;
    assert!(matches!(gone, Err(Error::NotFound)), "{gone:?}");
}

#[tokio::test]
async fn a_user_who_was_disabled_loses_their_tokens_for_good() {
    let Some(client) = keystone() else { return };
    let administrator = administrator(&client).await.token;
    let name = unique("temp");
    let fields = json!({ "user": { "name": name, "password": "1234", "domain_id": "default" } });
    let made = as_administrator(&client, &administrator, "POST", "users", &fields).await;
    let path = format!("users/{}", made["user"]["id"].as_str().unwrap());

    let service = service(&client).await.token;
    let login = by_password(&name, "1234", Scope::Unscoped);
    let old = log_in(&client, &login).await.token;
    assert!(client.validate(&service, &old).await.unwrap().is_some());
    for enabled in [false, true] {
        let change = json!({ "user": { "enabled": enabled } });
        as_administrator(&client, &administrator, "PATCH", &path, &change).await;
        assert_eq!(
            client.validate(&service, &old).await.unwrap(),
            None,
            "enabled: {enabled}"
        );
        assert_eq!(client.authenticate(&login).await.is_ok(), enabled);
    }
    as_administrator(&client, &administrator, "DELETE", &path, &Value::Null).await;
}

/// A call that the client has no method for, since the product does not make it.
async fn as_administrator(
    client: &Client,
    token: &Token,
    verb: &str,
    path: &str,
    body: &Value,
) -> Value {
    let url = format!("{}/{path}", client.url());
    let http = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()
        .unwrap();
    let mut request = http
        .request(verb.parse().unwrap(), url)
        .header("x-auth-token", token.expose());
    if !body.is_null() {
        request = request.json(body);
    }
    let answer = request.send().await.unwrap();
    assert!(
        answer.status().is_success(),
        "{verb} {path}: {}",
        answer.status()
    );
    if answer.status() == StatusCode::NO_CONTENT {
        Value::Null
    } else {
        answer.json().await.unwrap()
    }
}

#[tokio::test]
async fn the_connection_that_uwsgi_closes_is_not_used_again() {
    let Some(client) = keystone() else { return };
    let (service, joe) = (service(&client).await, joe(&client).await);
    for call in 0..50 {
        let answer = client.validate(&service.token, &joe.token).await;
        assert!(matches!(answer, Ok(Some(_))), "call {call}: {answer:?}");
    }
}

#[tokio::test]
async fn version_2_is_gone_and_another_path_is_not_keystone() {
    let Some(client) = keystone() else { return };
    let joe = joe(&client).await;
    let root = client.url().as_str().trim_end_matches("/v3").to_owned();
    assert!(
        Client::new(
            &format!("{root}/v2.0").parse().unwrap(),
            &Options::default()
        )
        .is_err()
    );
    // A wrong address must not look like a token that is not valid.
    let elsewhere = common::client(
        &format!("{root}/elsewhere"),
        &Options {
            timeout: Duration::from_secs(30),
            ..Options::default()
        },
    );
    let result = elsewhere.validate(&joe.token, &joe.token).await;
    assert!(
        matches!(result, Err(Error::Protocol { status: 404, .. })),
        "{result:?}"
    );
}
