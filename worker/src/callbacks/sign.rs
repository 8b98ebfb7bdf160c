//! Signatures of Standard Webhooks 1.0, version `v1`: HMAC-SHA256 over `id.timestamp.body`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::ExposeSecret as _;
use sha2::Sha256;

use super::secrets::Secret;

/// Returns the header `webhook-signature`: one signature for each key, the newest first, so that a
/// receiver may change its secret at any time of a rotation. `timestamp` is in seconds.
pub(crate) fn signature(secret: &Secret, id: &str, timestamp: i64, body: &[u8]) -> String {
    let one = |key: &secrecy::SecretSlice<u8>| {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose_secret()) else {
            unreachable!("HMAC takes a key of any length")
        };
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    };
    let all: Vec<_> = secret.keys().map(one).collect();
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use standardwebhooks::Webhook;
    use vmctl_core::clock::{Clock as _, SystemClock};

    use super::*;

    const ONE: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const TWO: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    #[test]
    fn t16_the_example_of_the_specification_has_this_signature() {
        let secret: Secret = ONE.parse().unwrap();
        let signature = signature(
            &secret,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn t16_either_secret_of_a_rotation_verifies() {
        let secret: Secret = format!("{ONE}\n{TWO}").parse().unwrap();
        let now = SystemClock.now().as_second();
        let (id, body) = ("0198f2a4", br#"{"a":"b"}"#);
        let header = signature(&secret, id, now, body);
        assert_eq!(header.split(' ').count(), 2);
        let mut headers = http::HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", now.into());
        headers.insert("webhook-signature", header.parse().unwrap());
        for secret in [ONE, TWO] {
            let webhook = Webhook::new(secret).unwrap();
            webhook.verify(body, &headers).unwrap();
            assert!(webhook.verify(b"{}", &headers).is_err());
        }
        let other = Webhook::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        assert!(other.verify(body, &headers).is_err());
    }
}
