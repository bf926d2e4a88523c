//! Certificates and handshakes.

use std::path::Path;

use rcgen::{CertificateParams, DnType, KeyPair};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use twinport_config::SslMode;
use twinport_embedded::{Authority, Identity};

use super::*;
use crate::stream::Stream;

/// Certificates in a folder of their own.
struct Files {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("test").unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        let files = Self { dir, authority };
        files.identity("server", &files.authority.server(&["localhost"]).unwrap());
        files
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn identity(&self, name: &str, identity: &Identity) {
        self.write(name, &identity.certificate, &identity.key);
    }

    fn write(&self, name: &str, certificate: &str, key: &str) {
        std::fs::write(self.path(&format!("{name}.pem")), certificate).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key).unwrap();
    }

    /// A certificate that signs itself, with a common name only.
    fn self_signed(&self, name: &str, common_name: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        self.write(name, &certificate.pem(), &key.serialize_pem());
    }

    fn server(&self, client_auth: ClientAuth) -> ServerTls {
        let files = ServerFiles {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            client_ca: Some(self.path("ca.pem")),
            client_auth,
        };
        ServerTls::load(files, &[ALPN_POSTGRES]).unwrap()
    }

    fn client(&self, mode: SslMode, root: Option<&str>, own: Option<&str>) -> ClientTls {
        let files = ClientFiles {
            root: root.map(|name| self.path(name)),
            certificate: own.map(|name| self.path(&format!("{name}.pem"))),
            key: own.map(|name| self.path(&format!("{name}.key"))),
        };
        ClientTls::load(mode, files, &[ALPN_POSTGRES]).unwrap()
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, server) = tokio::join!(client, listener.accept());
    (client.unwrap(), server.unwrap().0)
}

/// Both sides' handshakes and one byte each way.
async fn meet(
    server: &ServerTls,
    client: &ClientTls,
    host: &str,
) -> (Result<Secured, TlsError>, Result<Secured, TlsError>) {
    let (near, far) = pair().await;
    let serve = async {
        let mut secured = server.accept(far).await?;
        let mut byte = [0];
        secured
            .stream
            .read_exact(&mut byte)
            .await
            .map_err(Kind::Handshake)?;
        secured
            .stream
            .write_all(b"!")
            .await
            .map_err(Kind::Handshake)?;
        secured.stream.flush().await.map_err(Kind::Handshake)?;
        Ok(secured)
    };
    let connect = async {
        let mut secured = client.connect(host, near).await?;
        let mut byte = [0];
        secured
            .stream
            .write_all(b"?")
            .await
            .map_err(Kind::Handshake)?;
        secured.stream.flush().await.map_err(Kind::Handshake)?;
        secured
            .stream
            .read_exact(&mut byte)
            .await
            .map_err(Kind::Handshake)?;
        Ok(secured)
    };
    tokio::join!(serve, connect)
}

async fn trusts(files: &Files, mode: SslMode, root: Option<&str>, host: &str) -> bool {
    let server = files.server(ClientAuth::None);
    let client = files.client(mode, root, None);
    meet(&server, &client, host).await.1.is_ok()
}

#[tokio::test]
async fn both_sides_see_one_end_point() {
    let files = Files::new();
    let server = files.server(ClientAuth::None);
    let client = files.client(SslMode::VerifyFull, Some("ca.pem"), None);
    let (far, near) = meet(&server, &client, "localhost").await;
    let (far, near) = (far.unwrap(), near.unwrap());
    assert_eq!(far.end_point.as_ref().unwrap().len(), 32);
    assert_eq!(far.end_point, near.end_point);
    assert_eq!(far.stream.alpn(), Some(ALPN_POSTGRES));
    assert_eq!(near.stream.alpn(), Some(ALPN_POSTGRES));
    assert!(far.stream.is_tls() && far.stream.is_loopback() && !far.stream.is_plain_tcp());
    let near = SockRef::from(near.stream.socket().unwrap());
    assert!(near.tcp_nodelay().unwrap() && near.keepalive().unwrap());
}

#[tokio::test]
async fn sslmode_decides_what_is_checked() {
    let files = Files::new();
    let other = Authority::new("other").unwrap();
    std::fs::write(files.path("other.pem"), other.pem()).unwrap();
    let (ours, theirs) = (Some("ca.pem"), Some("other.pem"));
    assert!(trusts(&files, SslMode::Prefer, theirs, "elsewhere").await);
    assert!(trusts(&files, SslMode::Require, None, "elsewhere").await);
    assert!(!trusts(&files, SslMode::Require, theirs, "localhost").await);
    assert!(trusts(&files, SslMode::VerifyCa, ours, "elsewhere").await);
    assert!(!trusts(&files, SslMode::VerifyCa, theirs, "localhost").await);
    assert!(trusts(&files, SslMode::VerifyFull, ours, "localhost").await);
    assert!(!trusts(&files, SslMode::VerifyFull, ours, "elsewhere").await);
    assert!(!trusts(&files, SslMode::VerifyFull, theirs, "localhost").await);
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_where_it_is_listed() {
    let files = Files::new();
    files.self_signed("server", "db.example.com");
    files.self_signed("impostor", "db.example.com");
    let (listed, other) = (Some("server.pem"), Some("impostor.pem"));
    assert!(trusts(&files, SslMode::VerifyCa, listed, "elsewhere").await);
    assert!(!trusts(&files, SslMode::VerifyCa, other, "db.example.com").await);
    assert!(trusts(&files, SslMode::VerifyFull, listed, "DB.example.com").await);
    assert!(!trusts(&files, SslMode::VerifyFull, listed, "xdb.example.com").await);
    files.self_signed("server", "*.example.com");
    assert!(trusts(&files, SslMode::VerifyFull, listed, "db.example.com").await);
    assert!(!trusts(&files, SslMode::VerifyFull, listed, "a.db.example.com").await);
    assert!(!trusts(&files, SslMode::VerifyFull, listed, "example.com").await);
}

#[tokio::test]
async fn common_name_does_not_count_beside_alternative_names() {
    let files = Files::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["other.example.com".to_owned()]).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "localhost");
    let certificate = params.self_signed(&key).unwrap();
    files.write("server", &certificate.pem(), &key.serialize_pem());
    let listed = Some("server.pem");
    assert!(!trusts(&files, SslMode::VerifyFull, listed, "localhost").await);
    assert!(trusts(&files, SslMode::VerifyFull, listed, "other.example.com").await);
}

#[tokio::test]
async fn an_expired_certificate_is_refused_even_where_it_is_listed() {
    let files = Files::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    files.write("server", &certificate.pem(), &key.serialize_pem());
    assert!(!trusts(&files, SslMode::VerifyCa, Some("server.pem"), "localhost").await);
    assert!(trusts(&files, SslMode::Require, None, "localhost").await);
}

#[tokio::test]
async fn client_certificates_are_none_optional_or_required() {
    let files = Files::new();
    files.identity("ann", &files.authority.client("ann").unwrap());
    let stranger = Authority::new("stranger").unwrap();
    files.identity("stranger", &stranger.client("ann").unwrap());
    let client = |own| files.client(SslMode::Require, None, own);
    for (auth, own, accepted) in [
        (ClientAuth::None, Some("ann"), true),
        (ClientAuth::Optional, None, true),
        (ClientAuth::Optional, Some("ann"), true),
        (ClientAuth::Optional, Some("stranger"), false),
        (ClientAuth::Required, None, false),
        (ClientAuth::Required, Some("ann"), true),
        (ClientAuth::Required, Some("stranger"), false),
    ] {
        let (far, _) = meet(&files.server(auth), &client(own), "localhost").await;
        assert_eq!(far.is_ok(), accepted, "{auth:?} {own:?}");
        let shown = far.ok().and_then(|far| {
            let names = certificate::names(far.stream.peer_certificate()?);
            names?.common
        });
        let expected = own.filter(|_| accepted && auth != ClientAuth::None);
        assert_eq!(shown.as_deref(), expected, "{auth:?} {own:?}");
    }
}

#[tokio::test]
async fn reload_takes_the_new_certificate_and_keeps_the_old_on_errors() {
    let files = Files::new();
    let server = files.server(ClientAuth::None);
    let client = files.client(SslMode::VerifyFull, Some("ca.pem"), None);
    let end_point = async |server: &ServerTls| {
        let (far, near) = meet(server, &client, "localhost").await;
        assert_eq!(near.unwrap().end_point, far.as_ref().unwrap().end_point);
        far.unwrap().end_point
    };
    let first = end_point(&server).await;
    files.identity("server", &files.authority.server(&["localhost"]).unwrap());
    assert_eq!(end_point(&server).await, first);
    server.reload().unwrap();
    let second = end_point(&server).await;
    assert_ne!(second, first);
    std::fs::write(files.path("server.key"), "nothing").unwrap();
    let error = server.reload().unwrap_err();
    assert!(error.is_file(), "{error}");
    assert!(error.to_string().contains("server.key"), "{error}");
    assert_eq!(end_point(&server).await, second);
}

#[test]
fn end_point_follows_the_signature_algorithm() {
    for (algorithm, length) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
        (&rcgen::PKCS_ECDSA_P384_SHA384, Some(48)),
        (&rcgen::PKCS_ED25519, None),
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let hash = certificate::end_point(certificate.der());
        assert_eq!(hash.map(|hash| hash.len()), length);
    }
    let garbage = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
    assert_eq!(certificate::end_point(&garbage), None);
    assert_eq!(certificate::names(&garbage), None);
}

#[test]
fn files_that_are_missing_or_wrong_are_named() {
    let files = Files::new();
    let load = |certificate: &Path, key: &Path, client_auth| {
        let files = ServerFiles {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            client_ca: None,
            client_auth,
        };
        ServerTls::load(files, &[]).unwrap_err()
    };
    let (pem, key) = (files.path("server.pem"), files.path("server.key"));
    let missing = load(Path::new("/nowhere.pem"), &key, ClientAuth::None);
    assert!(missing.is_file() && missing.to_string().contains("/nowhere.pem"));
    assert!(load(&key, &key, ClientAuth::None).is_file());
    assert!(load(&pem, &pem, ClientAuth::None).is_file());
    assert!(load(&pem, &key, ClientAuth::Required).is_config());
    let other = files.authority.server(&["other"]).unwrap();
    files.identity("other", &other);
    assert!(load(&pem, &files.path("other.key"), ClientAuth::None).is_config());
}

#[tokio::test]
async fn unread_plain_text_is_seen_before_a_handshake() {
    let (mut near, far) = pair().await;
    let far = Stream::tcp(far).unwrap();
    assert!(!far.has_unread().await);
    near.write_all(b"\x16x").await.unwrap();
    assert!(far.starts_with(0x16).await.unwrap());
    assert!(far.has_unread().await);
    assert!(!far.starts_with(0x17).await.unwrap());
}
