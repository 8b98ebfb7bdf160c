//! What every identity backend must do.
//!
//! The fixture has a user `joe` with password `1234`, member of project `demo`, which is the
//! user's default.

use secrecy::SecretString;

use crate::identity::{Identity, IdentityError, Login, Token};

fn login(user: &str, password: &str) -> Login {
    Login {
        user: user.to_owned(),
        password: SecretString::from(password.to_owned()),
        project: None,
        domain: None,
    }
}

/// A right password gives a token that validates to the same caller.
pub async fn a_right_password_gives_a_valid_token(identity: &dyn Identity) {
    let (token, context) = identity.authenticate(&login("joe", "1234")).await.unwrap();
    assert_eq!(context.user_name, "joe");
    assert_eq!(context.project.as_ref().unwrap().name, "demo");
    assert!(context.has_role("member"));
    assert!(!context.has_role("admin"));
    let validated = identity.validate(&token).await.unwrap();
    assert_eq!(validated.user_id, context.user_id);
    assert_eq!(validated.project, context.project);
    assert_eq!(validated.expires_at, context.expires_at);
}

/// A wrong password and an unknown user are refused alike.
pub async fn a_wrong_password_and_an_unknown_user_are_refused_alike(identity: &dyn Identity) {
    for (user, password) in [("joe", "12345"), ("joe", ""), ("nobody", "1234")] {
        let error = identity
            .authenticate(&login(user, password))
            .await
            .unwrap_err();
        assert!(matches!(error, IdentityError::Refused), "{user}: {error:?}");
    }
}

/// A project of somebody else is refused.
pub async fn a_foreign_project_is_refused(identity: &dyn Identity) {
    let login = Login {
        project: Some("other".to_owned()),
        ..login("joe", "1234")
    };
    let error = identity.authenticate(&login).await.unwrap_err();
    assert!(matches!(error, IdentityError::Refused), "{error:?}");
}

/// A token that nobody issued is invalid.
pub async fn an_unknown_token_is_invalid(identity: &dyn Identity) {
    let token = Token::parse("gAAAAABunknown").unwrap();
    for _ in 0..2 {
        let error = identity.validate(&token).await.unwrap_err();
        assert!(matches!(error, IdentityError::Invalid), "{error:?}");
    }
}

/// A revoked token is invalid at once for whoever revoked it; revoking twice does nothing.
pub async fn a_revoked_token_is_invalid(identity: &dyn Identity) {
    let (token, _) = identity.authenticate(&login("joe", "1234")).await.unwrap();
    identity.validate(&token).await.unwrap();
    identity.revoke(&token).await.unwrap();
    identity.revoke(&token).await.unwrap();
    let error = identity.validate(&token).await.unwrap_err();
    assert!(matches!(error, IdentityError::Invalid), "{error:?}");
}

/// Runs all of them.
pub async fn all(identity: &dyn Identity) {
    a_right_password_gives_a_valid_token(identity).await;
    a_wrong_password_and_an_unknown_user_are_refused_alike(identity).await;
    a_foreign_project_is_refused(identity).await;
    an_unknown_token_is_invalid(identity).await;
    a_revoked_token_is_invalid(identity).await;
}
