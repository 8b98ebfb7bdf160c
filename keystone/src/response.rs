//! What Keystone says about a login and about a token.

use jiff::Timestamp;
use serde::Deserialize;

use crate::token::Token;

/// The result of a login that Keystone did not refuse.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The login is complete.
    Authenticated(Box<Authenticated>),
    /// What was sent is right, but the user needs one more factor.
    MfaRequired(MfaRequired),
}

/// A complete login.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The token.
    pub token: Token,
    /// What it is good for.
    pub info: TokenInfo,
}

/// The first step of a login with several factors, done.
#[derive(Clone, Debug)]
pub struct MfaRequired {
    /// Stands for the methods that succeeded; it is good for about five minutes.
    pub receipt: Token,
    /// The methods that succeeded.
    pub methods: Vec<String>,
    /// The sets of methods that complete a login, each sorted; any one of them will do.
    pub rules: Vec<Vec<String>>,
    /// When the receipt ends.
    pub expires_at: Timestamp,
}

impl MfaRequired {
    /// For each rule, the methods that are still to be sent, the shortest list first.
    pub fn missing(&self) -> Vec<Vec<String>> {
        let missing_of = |rule: &Vec<String>| -> Vec<String> {
            rule.iter()
                .filter(|method| !self.methods.contains(method))
                .cloned()
                .collect()
        };
        let mut missing: Vec<_> = self.rules.iter().map(missing_of).collect();
        missing.sort_by_key(Vec::len);
        missing
    }
}

/// A valid token, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// Whose it is.
    pub user: User,
    /// What it is good for.
    pub scope: TokenScope,
    /// The roles of the user in that scope; none without a scope.
    pub roles: Vec<Role>,
    /// How the user proved who they are.
    pub methods: Vec<String>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The application credential that it was made with.
    pub application_credential_id: Option<String>,
}

impl TokenInfo {
    /// The project that the token is scoped to.
    pub fn project(&self) -> Option<&Project> {
        match &self.scope {
            TokenScope::Project(project) => Some(project),
            _ => None,
        }
    }
}

/// What a token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenScope {
    /// Nothing: only to get another token.
    Unscoped,
    /// A project.
    Project(Project),
    /// A domain.
    Domain(Domain),
    /// The whole deployment.
    System,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct User {
    /// Unique in the deployment.
    pub id: String,
    /// Unique in the domain.
    pub name: String,
    /// The user's domain.
    pub domain: Domain,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Project {
    /// Unique in the deployment.
    pub id: String,
    /// Unique in the domain.
    pub name: String,
    /// The project's domain.
    pub domain: Domain,
}

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Domain {
    /// Unique in the deployment.
    pub id: String,
    /// Unique in the deployment, too.
    pub name: String,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Role {
    /// Unique in the deployment.
    pub id: String,
    /// What policies speak of.
    pub name: String,
}

/// `{"token": …}`, as sent.
#[derive(Deserialize)]
pub(crate) struct TokenBody {
    token: WireToken,
}

#[derive(Deserialize)]
struct WireToken {
    user: User,
    project: Option<Project>,
    domain: Option<Domain>,
    system: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    roles: Vec<Role>,
    #[serde(default)]
    methods: Vec<String>,
    issued_at: Timestamp,
    expires_at: Timestamp,
    application_credential: Option<WireId>,
}

#[derive(Deserialize)]
struct WireId {
    id: String,
}

impl From<TokenBody> for TokenInfo {
    fn from(TokenBody { token }: TokenBody) -> Self {
        let scope = match (token.project, token.domain, token.system) {
            (Some(project), ..) => TokenScope::Project(project),
            (None, Some(domain), _) => TokenScope::Domain(domain),
            (None, None, Some(_)) => TokenScope::System,
            (None, None, None) => TokenScope::Unscoped,
        };
        Self {
            user: token.user,
            scope,
            roles: token.roles,
            methods: token.methods,
            issued_at: token.issued_at,
            expires_at: token.expires_at,
            application_credential_id: token.application_credential.map(|wire| wire.id),
        }
    }
}

/// The body of a 401 that asks for one more factor.
#[derive(Deserialize)]
pub(crate) struct MfaBody {
    receipt: WireReceipt,
    required_auth_methods: Vec<Vec<String>>,
}

#[derive(Deserialize)]
struct WireReceipt {
    methods: Vec<String>,
    expires_at: Timestamp,
}

impl MfaBody {
    pub(crate) fn with(mut self, receipt: Token) -> MfaRequired {
        // Keystone keeps a rule as a set and sends it in any order.
        self.required_auth_methods
            .iter_mut()
            .for_each(|rule| rule.sort());
        MfaRequired {
            receipt,
            methods: self.receipt.methods,
            rules: self.required_auth_methods,
            expires_at: self.receipt.expires_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_methods_by_rule() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let required = MfaRequired {
            receipt: Token::parse("r").unwrap(),
            methods: words("password"),
            rules: vec![words("password custom totp"), words("password totp")],
            expires_at: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(required.missing(), [words("totp"), words("custom totp")]);
    }
}
