//! The one TLS provider of the process.

/// Makes `ring` the TLS provider of the process.
///
/// Comes first in `main`: a TLS client that is built before it panics. A second call changes
/// nothing.
pub fn install_crypto() {
    // An error means that a provider is there already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_provider_is_there_and_a_second_call_is_harmless() {
        super::install_crypto();
        super::install_crypto();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
