//! Bytes that must hurt nobody: before the login and after it. The session ends or answers an
//! error, and others go on.

use anyhow::{Context, Result};
use twinport_wire::mongo::bson::raw::RawDocument;
use twinport_wire::mongo::bson::rawdoc;
use twinport_wire::mongo::compressed::{Compressor, compress};
use twinport_wire::mongo::frame::{MAX_LENGTH, OP_COMPRESSED, OP_MSG, OP_QUERY};
use twinport_wire::mongo::message::build;
use twinport_wire::mongo::{Frame, sasl};
use twinport_wire::scram::Sha256;

use super::raw::{Outcome, Raw};
use super::support::{Scene, Wants, code};

/// A proxy, and somebody who must be served whatever others do.
struct Yard {
    scene: Scene,
    bystander: Raw,
}

impl Yard {
    async fn new() -> Result<Self> {
        let scene = Scene::with(Wants {
            mongo_lines: "login_timeout = \"5s\"",
            ..Wants::default()
        })
        .await?;
        scene.fill("c", 3).await?;
        let bystander = scene.client().await?;
        Ok(Self { scene, bystander })
    }

    /// Somebody who has not logged in, and somebody who has; both may send compressed messages.
    async fn both(&self) -> Result<[Raw; 2]> {
        let mut both = [self.scene.stranger().await?, self.scene.client().await?];
        let names = Compressor::ALL.map(Compressor::name);
        let hello = rawdoc! {
            "hello": 1,
            "compression": [names[0], names[1], names[2]],
            "$db": "admin",
        };
        for each in &mut both {
            each.run(&hello).await?;
        }
        Ok(both)
    }

    /// Sends the same before the login and after it; neither may be served.
    async fn refuses(&mut self, what: &str, bytes: &[u8]) -> Result<[Outcome; 2]> {
        let [mut stranger, mut client] = self.both().await?;
        let outcomes = [
            stranger.outrage(bytes).await.context(what.to_owned())?,
            client.outrage(bytes).await.context(what.to_owned())?,
        ];
        assert!(!outcomes.contains(&Outcome::Served), "{what}: {outcomes:?}");
        self.goes_on().await.context(what.to_owned())?;
        Ok(outcomes)
    }

    async fn goes_on(&mut self) -> Result<()> {
        let count = rawdoc! { "count": "c", "query": {}, "$db": "test" };
        let answer = self.bystander.run(&count).await?;
        anyhow::ensure!(answer.get_i32("n")? == 3, "{answer:?}");
        Ok(())
    }

    /// Everybody who did wrong is gone.
    async fn end(mut self) -> Result<()> {
        self.goes_on().await?;
        let wing = self.scene.running.mongo_wing().context("no wing")?;
        twinport_integration::eventually("only the bystander is left", async || {
            Ok(wing.clients().count() == 1)
        })
        .await?;
        drop(self.bystander);
        self.scene.stop().await;
        Ok(())
    }
}

/// A message with a length that is true.
fn message(op: i32, body: &[u8]) -> Vec<u8> {
    declared(u32::try_from(body.len()).unwrap_or(u32::MAX) + 16, op, body)
}

/// A message that declares this length.
fn declared(length: u32, op: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(op.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// An OP_MSG without flags.
fn sections(sections: &[&[u8]]) -> Vec<u8> {
    let mut body = vec![0; 4];
    for section in sections {
        body.extend_from_slice(section);
    }
    message(OP_MSG, &body)
}

/// A section with the command.
fn kind_0(body: &RawDocument) -> Vec<u8> {
    [&[0], body.as_bytes()].concat()
}

/// A section with documents.
fn kind_1(name: &str, documents: &[u8]) -> Vec<u8> {
    let length = u32::try_from(4 + name.len() + 1 + documents.len()).unwrap_or(u32::MAX);
    let mut section = vec![1];
    section.extend(length.to_le_bytes());
    section.extend_from_slice(name.as_bytes());
    section.push(0);
    section.extend_from_slice(documents);
    section
}

/// A document of these elements, as they are.
fn document(elements: &[u8]) -> Vec<u8> {
    let length = u32::try_from(elements.len() + 5).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), elements, &[0]].concat()
}

#[tokio::test]
async fn a_compressed_length_that_lies() -> Result<()> {
    let mut yard = Yard::new().await?;
    let ping = rawdoc! { "ping": 1, "comment": "a".repeat(500), "$db": "admin" };
    let mut plain = Vec::new();
    build::request(&mut plain, 1, 0, &ping, []);
    let frame = Frame::first(&plain)?.context("a frame")?;
    let size = u32::try_from(frame.body().len())?;
    for compressor in Compressor::ALL {
        let mut honest = Vec::new();
        assert!(compress(&mut honest, &frame, compressor));
        for mut each in yard.both().await? {
            let outcome = each.outrage(&honest).await?;
            assert_eq!(outcome, Outcome::Served, "{compressor:?} without a lie");
        }
        let name = compressor.name();
        for lie in [
            0,
            1,
            size - 1,
            size + 1,
            60_000,
            47_000_000,
            0x7fff_ffff,
            u32::MAX,
        ] {
            let mut lying = honest.clone();
            lying.splice(20..24, lie.to_le_bytes());
            yard.refuses(&format!("{name}, {lie} bytes"), &lying)
                .await?;
        }
        for end in [25, honest.len() - 1] {
            let data = honest.get(16..end).context("shorter")?;
            let cut = message(OP_COMPRESSED, data);
            yard.refuses(&format!("{name}, cut at {end}"), &cut).await?;
        }
        let inside = message(OP_COMPRESSED, honest.get(16..).unwrap_or_default());
        let mut outer = Vec::new();
        let frame = Frame::first(&inside)?.context("a frame")?;
        if compress(&mut outer, &frame, compressor) {
            yard.refuses(&format!("{name} in {name}"), &outer).await?;
        }
        let mut other = honest.clone();
        for id in [4, 255] {
            other.splice(24..25, [id]);
            yard.refuses(&format!("compressor {id}"), &other).await?;
        }
    }
    yard.end().await
}

#[tokio::test]
async fn malformed_messages_before_authentication() -> Result<()> {
    let mut yard = Yard::new().await?;
    let legacy = |collection: &[u8], document: &[u8]| {
        let body = [&[0; 4], collection, &[0; 8], document].concat();
        message(OP_QUERY, &body)
    };
    let hello = rawdoc! { "hello": 1, "$db": "admin" };
    let section = kind_0(&hello);
    let hello = hello.as_bytes();
    let most = u32::try_from(MAX_LENGTH)? + 1;
    let cases: &[(&str, Vec<u8>)] = &[
        ("a length of 2³²−1", declared(u32::MAX, OP_MSG, b"")),
        ("a length of 2³¹", declared(0x8000_0000, OP_MSG, b"")),
        ("a length of 0", declared(0, OP_MSG, b"")),
        ("a length of 3", declared(3, OP_MSG, b"")),
        ("a header alone", declared(16, OP_MSG, b"")),
        ("too long", declared(most, OP_MSG, b"")),
        ("flags cut", declared(18, OP_MSG, &[0, 0])),
        ("no section", declared(20, OP_MSG, &[0; 4])),
        ("a section of no kind", sections(&[&[2], &section])),
        (
            "an unknown flag",
            message(OP_MSG, &[&[4, 0, 0, 0][..], &section].concat()),
        ),
        (
            "a checksum that is wrong",
            message(OP_MSG, &[&[1, 0, 0, 0][..], &section, &[9; 4]].concat()),
        ),
        (
            "a checksum that is missing",
            message(OP_MSG, &[&[1, 0, 0, 0][..], &section].concat()),
        ),
        ("bytes behind the last section", sections(&[&section, &[0]])),
        (
            "a document cut",
            sections(&[section.get(..20).context("longer")?]),
        ),
        ("no such operation", message(9999, &section)),
        ("OP_INSERT", message(2002, &section)),
        ("OP_KILL_CURSORS", message(2007, &[0; 16])),
        ("OP_REPLY", message(1, &[0; 20])),
        ("OP_QUERY of a collection", legacy(b"test.c\0", hello)),
        (
            "OP_QUERY without an end of its name",
            legacy(b"admin.$cmd", hello),
        ),
        ("OP_QUERY of nothing", legacy(b"\0", hello)),
        (
            "OP_QUERY cut",
            legacy(b"admin.$cmd\0", hello.get(..10).context("longer")?),
        ),
        (
            "OP_QUERY with three documents",
            legacy(b"admin.$cmd\0", &hello.repeat(3)),
        ),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        (
            "TLS where there is none",
            b"\x16\x03\x01\x00\x05hello".to_vec(),
        ),
    ];
    for (what, bytes) in cases {
        yard.refuses(what, bytes).await?;
    }
    let mut stranger = yard.scene.stranger().await?;
    for byte in sections(&[&section]) {
        stranger.write(&[byte]).await?;
        tokio::task::yield_now().await;
    }
    assert_eq!(stranger.read().await?.get_str("msg")?, "isdbgrid");
    let too_long = rawdoc! { "hello": 1, "comment": "a".repeat(70_000), "$db": "admin" };
    let outcome = stranger.outrage(&sections(&[&kind_0(&too_long)])).await?;
    assert_eq!(outcome, Outcome::Closed, "nobody needs that much to log in");
    logins(&yard).await?;
    yard.end().await
}

/// What strangers may say at their login.
async fn logins(yard: &Yard) -> Result<()> {
    let start = sasl::start::<Sha256>("admin", "n,,n=app,r=abcdefgh");
    let refused = [
        (13, rawdoc! { "find": "c", "$db": "test" }),
        (
            13,
            rawdoc! { "insert": "c", "documents": [{}], "$db": "test" },
        ),
        (
            13,
            rawdoc! { "getMore": 1_i64, "collection": "c", "$db": "test" },
        ),
        (13, rawdoc! { "serverStatus": 1, "$db": "admin" }),
        (59, rawdoc! { "nonsense": 1, "$db": "admin" }),
        (17, sasl::go_on("admin", 1, "c=biws,r=x,p=AAAA")),
        (18, sasl::start::<Sha256>("admin", "n,,n=app")),
        (
            18,
            sasl::start::<Sha256>("admin", "p=tls-unique,,n=app,r=abc"),
        ),
        (
            18,
            sasl::start::<Sha256>("admin", &format!("n,,n=app,r={}", "a".repeat(50_000))),
        ),
        (
            18,
            rawdoc! { "saslStart": 1, "mechanism": "PLAIN", "payload": "x", "$db": "admin" },
        ),
    ];
    for (expected, body) in &refused {
        let mut stranger = yard.scene.stranger().await?;
        let answer = stranger.ask(body).await?;
        let got = code(&answer);
        // What is malformed may be called so.
        assert!(
            got == *expected || got == 9 && *expected == 18,
            "{body:?} gave {answer:?}"
        );
    }
    // A login begun twice, then gone on with as if it was the first.
    let mut stranger = yard.scene.stranger().await?;
    stranger.run(&start).await?;
    stranger.run(&start).await?;
    let forged = sasl::go_on("admin", 1, "c=biws,r=abcdefgh,p=AAAA");
    assert_ne!(code(&stranger.ask(&forged).await?), 0);
    assert_eq!(code(&stranger.ask(&forged).await?), 17);
    assert_eq!(
        code(
            &stranger
                .ask(&rawdoc! { "find": "c", "$db": "test" })
                .await?
        ),
        13
    );
    assert!(stranger.log_in("app", "wrong").await.is_err());
    assert!(stranger.log_in("nobody", "app-secret").await.is_err());
    stranger.log_in("app", "app-secret").await
}

#[tokio::test]
async fn bson_with_bad_lengths() -> Result<()> {
    let mut yard = Yard::new().await?;
    let element = |kind: u8, value: &[u8]| [&[kind, b'x', 0], value].concat();
    let with = |bad: &[u8]| {
        let elements = [b"\x10ping\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0", bad].concat();
        document(&elements)
    };
    let long = [0xff, 0xff, 0xff, 0x7f];
    let cases: &[(&str, Vec<u8>)] = &[
        ("a string of length 0", element(2, &[0; 4])),
        ("a string of length −1", element(2, &[0xff; 4])),
        (
            "a string over the end",
            element(2, &[&long[..], b"a\0"].concat()),
        ),
        ("a string without its NUL", element(2, b"\x02\0\0\0aa")),
        ("a string that is no UTF-8", element(2, b"\x02\0\0\0\xff\0")),
        ("a document of length 0", element(3, &[0; 4])),
        (
            "a document over the end",
            element(3, &[&long[..], &[0]].concat()),
        ),
        (
            "a document over the outer one",
            element(3, &[30, 0, 0, 0, 0]),
        ),
        ("a document without its end", element(3, &[5, 0, 0, 0, 1])),
        ("an array of length 4", element(4, &[4, 0, 0, 0])),
        (
            "a binary of length −1",
            element(5, &[0xff, 0xff, 0xff, 0xff, 0]),
        ),
        (
            "a binary over the end",
            element(5, &[&long[..], &[0]].concat()),
        ),
        (
            "an old binary within itself",
            element(5, &[4, 0, 0, 0, 2, 9, 0, 0, 0]),
        ),
        ("an id cut", element(7, &[1; 5])),
        ("a boolean of 2", element(8, &[2])),
        ("a regular expression without end", element(11, b"abc")),
        (
            "code with a scope that lies",
            element(15, &[&long[..], b"\x02\0\0\0a\0"].concat()),
        ),
        ("a number cut", element(18, &[1, 2])),
        ("a type that is none", element(0x66, &[])),
        ("a key without its end", b"\x10abc".to_vec()),
    ];
    for (what, bad) in cases {
        let body = with(bad);
        yard.refuses(what, &sections(&[&[0], &body])).await?;
        let insert = kind_0(&rawdoc! { "insert": "c", "$db": "test" });
        let section = kind_1("documents", &document(bad));
        let what = format!("{what}, to be inserted");
        yard.refuses(&what, &sections(&[&insert, &section])).await?;
    }
    let body = with(&[]);
    for length in [
        0,
        4,
        5,
        body.len() - 1,
        body.len() + 1,
        0x7fff_ffff,
        0xffff_ffff,
    ] {
        let mut lying = body.clone();
        lying.splice(..4, u32::try_from(length)?.to_le_bytes());
        let what = format!("a command of {length} bytes");
        yard.refuses(&what, &sections(&[&[0], &lying])).await?;
    }
    // Any byte may be wrong: whatever comes of it, everybody else is served.
    let honest = sections(&[&[0], &body]);
    for at in 16..honest.len() {
        for wrong in [0, 0x7f, 0xff] {
            let mut bytes = honest.clone();
            bytes.splice(at..=at, [wrong]);
            yard.scene.stranger().await?.write(&bytes).await?;
        }
    }
    yard.end().await
}

#[tokio::test]
async fn depth_without_end() -> Result<()> {
    let mut yard = Yard::new().await?;
    // Forwards, because a document's length stands before what it holds.
    let nested = |kind: u8, key: &[u8], depth: usize| {
        let level = 4 + 1 + key.len() + 1;
        let mut bytes = Vec::new();
        for left in (1..=depth).rev() {
            let length = left * (level + 1) + 5;
            bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
            bytes.push(kind);
            bytes.extend_from_slice(key);
            bytes.push(0);
        }
        bytes.extend([5, 0, 0, 0, 0]);
        bytes.resize(bytes.len() + depth, 0);
        bytes
    };
    let find = |deep: &[u8]| {
        let head = b"\x02find\0\x02\0\0\0c\0\x02$db\0\x05\0\0\0test\0\x03filter\0";
        sections(&[&[0], &document(&[head, deep].concat())])
    };
    let insert = kind_0(&rawdoc! { "insert": "c", "$db": "test" });
    for (kind, key) in [(3, &b"a"[..]), (4, b"0")] {
        for depth in [201, 5_000, 1_000_000] {
            let what = format!("{depth} levels of type {kind}");
            let deep = nested(kind, key, depth);
            yard.refuses(&what, &find(&deep)).await?;
            let section = kind_1("documents", &deep);
            yard.refuses(&what, &sections(&[&insert, &section])).await?;
        }
    }
    // What is allowed may still be too much for the database; it says so, and goes on.
    let mut client = yard.scene.client().await?;
    for (key, depth) in [("$not", 190), ("a", 190), ("$elemMatch", 190)] {
        client
            .write(&find(&nested(3, key.as_bytes(), depth)))
            .await?;
        client.read().await?;
    }
    let steps = vec!["a"; 10_000].join(".");
    let comment = format!("@include({steps})");
    let deep = rawdoc! { "find": "c", "comment": comment, "$db": "test" };
    assert_ne!(code(&client.ask(&deep).await?), 0);
    drop(client);
    yard.end().await
}

#[tokio::test]
async fn duplicated_sections() -> Result<()> {
    let mut yard = Yard::new().await?;
    let insert = kind_0(&rawdoc! { "insert": "c", "$db": "test" });
    let with_field = kind_0(&rawdoc! { "insert": "c", "documents": [{ "_id": 7 }], "$db": "test" });
    let documents = kind_1("documents", rawdoc! { "_id": 8 }.as_bytes());
    let empty = kind_1("documents", &[]);
    let ping = kind_0(&rawdoc! { "ping": 1, "$db": "admin" });
    let many: Vec<_> = (0..40).map(|at| kind_1(&format!("s{at}"), &[])).collect();
    let many = many.concat();
    let cases: &[(&str, &[&[u8]])] = &[
        ("two commands", &[&ping, &ping]),
        ("two commands apart", &[&insert, &documents, &insert]),
        ("no command", &[&documents]),
        ("documents twice", &[&insert, &documents, &documents]),
        ("documents twice, once none", &[&insert, &documents, &empty]),
        ("documents inside and outside", &[&with_field, &documents]),
        ("more than any command has", &[&ping, &many]),
    ];
    for (what, parts) in cases {
        yard.refuses(what, &sections(parts)).await?;
    }
    yard.end().await
}
