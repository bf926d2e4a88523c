//! A server that speaks while nobody asks it: what is no notice is nobody's answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_postgres::{Client, NoTls};
use twinport_integration::{PASSWORD, Port, USER, World};

use super::pair::Pair;

/// A notice, which a server may send at any time.
const NOTICE: &[u8] = b"N\0\0\0\x18SNOTICE\0C00000\0Mhi\0\0";
/// The answer to a statement that has no rows.
const ANSWER: &[u8] = b"C\0\0\0\x0dSELECT 0\0Z\0\0\0\x05I";

/// Leads to a server, and puts words into its mouth.
struct Ventriloquist {
    port: u16,
    words: broadcast::Sender<&'static [u8]>,
    connections: Arc<AtomicUsize>,
}

impl Ventriloquist {
    async fn before(port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (words, _) = broadcast::channel(4);
        let connections = Arc::<AtomicUsize>::default();
        let own = Self {
            port: listener.local_addr()?.port(),
            words: words.clone(),
            connections: Arc::clone(&connections),
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let words = words.subscribe();
                tokio::spawn(lead(client, port, words));
            }
        });
        Ok(own)
    }
}

async fn lead(
    mut client: TcpStream,
    port: u16,
    mut words: broadcast::Receiver<&'static [u8]>,
) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let (mut from, mut to) = client.split();
    let (mut back, mut forth) = server.split();
    let forwards = tokio::io::copy(&mut from, &mut forth);
    tokio::pin!(forwards);
    let mut bytes = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            _ = &mut forwards => return None,
            read = tokio::io::AsyncReadExt::read(&mut back, &mut bytes) => {
                let read = bytes.get(..read.ok().filter(|&length| length > 0)?)?;
                to.write_all(read).await.ok()?;
            }
            said = words.recv() => to.write_all(said.ok()?).await.ok()?,
        }
    }
}

async fn client(port: u16) -> Result<Client> {
    let url = format!("host=127.0.0.1 port={port} user={USER} dbname=library");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn asks(client: &Client, what: &str) -> Result<String> {
    Pair::read(client, &format!("SELECT '{what}'")).await
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_is_nobodys() -> Result<()> {
    let world = World::start(15).await?;
    let between = Ventriloquist::before(world.server.port()).await?;
    let library = format!(
        "postgres://{USER}:{PASSWORD}@127.0.0.1:{}/library?sslmode=disable",
        between.port
    );
    let proxy = Port::trusting_at(&library, &world, 1, "").await?;
    let port = proxy.address.port;
    let (a, b) = (client(port).await?, client(port).await?);
    assert_eq!(asks(&a, "a").await?, "a");
    let before = between.connections.load(Ordering::SeqCst);
    between.words.send(NOTICE)?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(asks(&b, "b").await?, "b");
    assert_eq!(
        between.connections.load(Ordering::SeqCst),
        before,
        "a notice does no harm"
    );
    between.words.send(ANSWER)?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    for turn in 0..3 {
        for (who, name) in [(&a, "a"), (&b, "b")] {
            let wanted = format!("{name}{turn}");
            assert_eq!(asks(who, &wanted).await?, wanted, "another's answer");
        }
    }
    assert!(
        between.connections.load(Ordering::SeqCst) > before,
        "the connection that is out of step is closed"
    );
    proxy.stop().await;
    Ok(())
}
