//! What a certificate says: its names, and the hash that a login is bound to.

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Signature algorithms by the hash that RFC 5929 takes for them.
const TO_SHA256: [&str; 6] = [
    "1.2.840.113549.1.1.4",   // md5WithRSAEncryption, by RFC 5929 SHA-256
    "1.2.840.113549.1.1.5",   // sha1WithRSAEncryption, by RFC 5929 SHA-256
    "1.2.840.10045.4.1",      // ecdsa-with-SHA1, by RFC 5929 SHA-256
    "1.2.840.113549.1.1.11",  // sha256WithRSAEncryption
    "1.2.840.10045.4.3.2",    // ecdsa-with-SHA256
    "2.16.840.1.101.3.4.3.2", // dsa-with-sha256
];
const TO_SHA384: [&str; 2] = [
    "1.2.840.113549.1.1.12", // sha384WithRSAEncryption
    "1.2.840.10045.4.3.3",   // ecdsa-with-SHA384
];
const TO_SHA512: [&str; 2] = [
    "1.2.840.113549.1.1.13", // sha512WithRSAEncryption
    "1.2.840.10045.4.3.4",   // ecdsa-with-SHA512
];

/// RSASSA-PSS, whose hash is a parameter.
const PSS: &str = "1.2.840.113549.1.1.10";

/// The `tls-server-end-point` binding of RFC 5929: the hash of the certificate
/// by its signature's hash function. `None` if that has none (Ed25519).
pub fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let parsed = Certificate::from_der(certificate).ok()?;
    let algorithm = &parsed.signature_algorithm;
    let oid = algorithm.oid.to_string();
    let hash = if TO_SHA256.contains(&oid.as_str()) {
        &SHA256
    } else if TO_SHA384.contains(&oid.as_str()) {
        &SHA384
    } else if TO_SHA512.contains(&oid.as_str()) {
        &SHA512
    } else if oid == PSS {
        pss(&algorithm.parameters.as_ref()?.to_der().ok()?)?
    } else {
        return None;
    };
    Some(digest(hash, certificate).as_ref().to_vec())
}

/// PSS names its hash inside its parameters; the identifiers of the SHA-2
/// family differ in the last byte only.
fn pss(parameters: &[u8]) -> Option<&'static Algorithm> {
    const FAMILY: &[u8] = &[0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
    let place = parameters
        .windows(FAMILY.len())
        .position(|window| window == FAMILY)?;
    match parameters.get(place + FAMILY.len())? {
        1 => Some(&SHA256),
        2 => Some(&SHA384),
        3 => Some(&SHA512),
        _ => None,
    }
}

/// Whom a certificate names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// The subject's common name, the last if there are several.
    pub common: Option<String>,
    /// DNS names among the alternative names.
    pub dns: Vec<String>,
    /// Does it have alternative names of any kind that TLS knows? If so, the
    /// common name does not count for a host.
    pub has_alternatives: bool,
}

/// The names in a certificate; `None` if it can't be parsed.
pub fn names(certificate: &CertificateDer<'_>) -> Option<Names> {
    let parsed = Certificate::from_der(certificate).ok()?.tbs_certificate;
    let mut names = Names::default();
    for attribute in parsed.subject.0.iter().flat_map(|set| set.0.iter()) {
        if attribute.oid != COMMON_NAME {
            continue;
        }
        let value = &attribute.value;
        let text = Utf8StringRef::try_from(value)
            .map(|text| text.as_str().to_owned())
            .or_else(|_| PrintableStringRef::try_from(value).map(|text| text.as_str().to_owned()))
            .or_else(|_| Ia5StringRef::try_from(value).map(|text| text.as_str().to_owned()));
        // A zero byte would make two readers see two names.
        names.common = text.ok().filter(|text| !text.contains('\0'));
    }
    if let Ok(Some((_, alternatives))) = parsed.get::<SubjectAltName>() {
        for name in alternatives.0 {
            match name {
                GeneralName::DnsName(dns) => {
                    names.has_alternatives = true;
                    names.dns.push(dns.to_string());
                }
                GeneralName::IpAddress(_) => names.has_alternatives = true,
                _ => {}
            }
        }
    }
    Some(names)
}
