//! Every way to log in upstream, at a port of our own that demands it.

use twinport_integration::mongo::{Certificates, MongoPort, MongoWorld};
use twinport_integration::{PASSWORD, USER};

use super::*;

/// What the first command through a forwarding port gives.
async fn first(url: &str) -> Result<RawDocumentBuf> {
    let front = Front::forwarding(url, "").await?;
    let answer = front.client().await?.ask(&find()).await;
    front.stop().await;
    answer
}

#[tokio::test]
async fn by_password() -> Result<()> {
    let world = MongoWorld::start().await?;
    let behind = MongoPort::start(&world, 4).await?;
    let right = behind.url(USER, PASSWORD);
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-1"] {
        let answer = first(&format!("{right}&authMechanism={mechanism}")).await?;
        assert_eq!(answer.get_f64("ok")?, 1.0, "{mechanism}: {answer:?}");
    }
    assert_eq!(first(&right).await?.get_f64("ok")?, 1.0);
    let refused = first(&behind.url(USER, "not-it")).await?;
    assert_eq!(code(&refused), 13, "{refused:?}");
    let message = refused.get_str("errmsg")?;
    assert!(message.contains("refused our login"), "{message}");
    assert!(!message.contains("not-it"), "{message}");
    behind.stop().await;
    Ok(())
}

#[tokio::test]
async fn by_certificate() -> Result<()> {
    let world = MongoWorld::start().await?;
    let behind = MongoPort::by_certificate(&world, 4).await?;
    let own = Certificates::write(&world)?.own;
    let url = format!(
        "{}&tlsCertificateKeyFile={}",
        behind.open_url(),
        own.display()
    );
    let answer = first(&format!("{url}&authMechanism=MONGODB-X509")).await?;
    assert_eq!(answer.get_f64("ok")?, 1.0, "{answer:?}");
    // The certificate alone is no login.
    assert_eq!(code(&first(&url).await?), 13);
    behind.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_server_that_asks_for_few_iterations_gets_no_proof() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    servers[0].answers(|heard| {
        if heard.name != "saslStart" {
            return None;
        }
        let said = heard.body.get_binary("payload").ok()?.bytes.to_vec();
        let nonce = String::from_utf8(said).ok()?.split_once("r=")?.1.to_owned();
        let challenge = format!("r={nonce}abc,s=c2FsdHNhbHQ=,i=4095");
        let payload = twinport_wire::mongo::bson::RawBinaryRef {
            subtype: twinport_wire::mongo::bson::spec::BinarySubtype::Generic,
            bytes: challenge.as_bytes(),
        };
        let payload = twinport_wire::mongo::bson::RawBsonRef::Binary(payload);
        Some(Act::Reply(
            rawdoc! { "conversationId": 1, "done": false, "payload": payload, "ok": 1.0 },
        ))
    });
    let place = servers[0].place;
    let answer = first(&format!(
        "mongodb://ann:secret@{place}/?authMechanism=SCRAM-SHA-256"
    ))
    .await?;
    assert_eq!(code(&answer), 13, "{answer:?}");
    assert!(answer.get_str("errmsg")?.contains("4096"), "{answer:?}");
    assert!(servers[0].heard("saslContinue").is_empty());
    Ok(())
}
