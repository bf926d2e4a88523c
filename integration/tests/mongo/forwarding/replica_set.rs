//! Replica sets: the primary, elections, read preferences; and several mongos.

use std::time::SystemTime;

use twinport_wire::mongo::bson::DateTime;

use super::*;

#[tokio::test]
async fn the_primary_is_found_from_any_member() -> Result<()> {
    let servers = Scripted::set(3).await?;
    let seeds = &servers[1..2];
    let front = Front::start(seeds, "replicaSet=rs").await?;
    let mut client = front.client().await?;
    client.run(&insert()).await?;
    assert_eq!(servers[0].heard("insert").len(), 1);
    assert!(servers[1].heard("insert").is_empty());
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_election_costs_no_write() -> Result<()> {
    let servers = Scripted::set(3).await?;
    let front = Front::start(&servers[..1], "").await?;
    let mut client = front.client().await?;
    client.run(&insert()).await?;
    // The first steps down; it says so to the next write, which goes to the new one.
    servers[0].become_a(Role::Secondary);
    servers[2].become_a(Role::Primary(2));
    client.run(&insert()).await?;
    assert_eq!(servers[0].heard("insert").len(), 2);
    assert_eq!(servers[2].heard("insert").len(), 1);
    // An old primary that comes back with what it was is not believed.
    servers[0].become_a(Role::Primary(1));
    for _ in 0..5 {
        client.run(&insert()).await?;
    }
    assert_eq!(servers[0].heard("insert").len(), 2);
    assert_eq!(servers[2].heard("insert").len(), 6);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_write_waits_for_the_election() -> Result<()> {
    let servers = Scripted::set(2).await?;
    let front = Front::start(&servers, "serverSelectionTimeoutMS=15000").await?;
    let mut client = front.client().await?;
    client.run(&insert()).await?;
    servers[0].become_a(Role::Secondary);
    client.send(&insert()).await?;
    until("the old primary has refused", || {
        servers[0].heard("insert").len() == 2
    })
    .await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    servers[1].become_a(Role::Primary(2));
    let answer = client.read().await?;
    assert_eq!(answer.get_f64("ok")?, 1.0, "{answer:?}");
    assert_eq!(servers[1].heard("insert").len(), 1);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn without_a_primary_reads_go_on_and_writes_fail() -> Result<()> {
    let servers = Scripted::set(2).await?;
    servers[0].become_a(Role::Secondary);
    let front = Front::start(&servers, "serverSelectionTimeoutMS=300").await?;
    let mut client = front.client().await?;
    let refused = client.ask(&insert()).await?;
    assert_eq!(code(&refused), 133, "{refused:?}");
    let message = refused.get_str("errmsg")?;
    assert!(
        message.contains("needs a primary") && message.contains("Secondary"),
        "{message}"
    );
    client.run(&reading("secondaryPreferred")).await?;
    client.run(&reading("primaryPreferred")).await?;
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_transaction_is_not_tried_elsewhere() -> Result<()> {
    let servers = Scripted::set(2).await?;
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    client.run(&begins(insert(), 1, 1)).await?;
    servers[0].become_a(Role::Secondary);
    servers[1].become_a(Role::Primary(2));
    let refused = client.ask(&goes_on(insert(), 1, 1)).await?;
    assert_eq!(code(&refused), 6, "{refused:?}");
    assert!(servers[1].heard("insert").is_empty());
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn reads_go_where_they_want() -> Result<()> {
    let servers = Scripted::set(3).await?;
    servers[1].also_says(rawdoc! { "tags": { "dc": "ny" } });
    servers[2].also_says(rawdoc! { "tags": { "dc": "sf" } });
    let front = Front::start(&servers, "").await?;
    let mut client = front.client().await?;
    let places: Vec<String> = servers.iter().map(|each| each.place.to_string()).collect();
    assert_eq!(place_of(&client.run(&find()).await?)?, places[0]);
    assert_eq!(
        place_of(&client.run(&reading("primary")).await?)?,
        places[0]
    );
    for _ in 0..5 {
        assert_ne!(
            place_of(&client.run(&reading("secondary")).await?)?,
            places[0]
        );
    }
    let tagged = rawdoc! { "mode": "secondary", "tags": [{ "dc": "nowhere" }, { "dc": "sf" }] };
    let tagged = with(find(), &rawdoc! { "$readPreference": tagged });
    for _ in 0..5 {
        assert_eq!(place_of(&client.run(&tagged).await?)?, places[2]);
    }
    // What writes goes to the primary, whatever it prefers.
    let out = rawdoc! {
        "aggregate": "books", "pipeline": [{ "$out": "b" }], "cursor": {}, "$db": "test",
        "$readPreference": { "mode": "secondary" },
    };
    client.run(&out).await?;
    assert_eq!(servers[0].heard("aggregate").len(), 1);
    let odd = client.ask(&reading("somewhere")).await?;
    assert_eq!(code(&odd), 9);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_staleness_counts_from_the_last_heartbeat() -> Result<()> {
    let servers = Scripted::set(2).await?;
    let written = |seconds_ago: u64| {
        let at = SystemTime::now() - Duration::from_secs(seconds_ago);
        rawdoc! { "lastWrite": { "lastWriteDate": DateTime::from_system_time(at) } }
    };
    servers[0].also_says(written(0));
    servers[1].also_says(written(95));
    let options = "heartbeatFrequencyMS=10000&serverSelectionTimeoutMS=300";
    let front = Front::start(&servers, options).await?;
    let mut client = front.client().await?;
    let stale = |seconds: i32| {
        let preference = rawdoc! { "mode": "secondary", "maxStalenessSeconds": seconds };
        with(find(), &rawdoc! { "$readPreference": preference })
    };
    client.run(&stale(120)).await?;
    // It may have fallen behind by another ten seconds.
    assert_eq!(code(&client.ask(&stale(100)).await?), 133);
    // So little can't be told.
    let refused = client.ask(&stale(89)).await?;
    assert_eq!(code(&refused), 160, "{refused:?}");
    assert_eq!(refused.get_str("codeName")?, "MaxStalenessOutOfRange");
    front.stop().await;
    let front = Front::start(&servers, "heartbeatFrequencyMS=100000").await?;
    let mut client = front.client().await?;
    assert_eq!(code(&client.ask(&stale(109)).await?), 160);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn before_mongodb_6_a_newer_configuration_is_a_newer_primary() -> Result<()> {
    let servers = Scripted::set(2).await?;
    servers[0].also_says(rawdoc! { "maxWireVersion": 13 });
    servers[1].also_says(rawdoc! { "maxWireVersion": 13 });
    servers[0].become_a(Role::Primary(9));
    let front = Front::start(&servers, "heartbeatFrequencyMS=500").await?;
    let mut client = front.client().await?;
    client.run(&insert()).await?;
    // Its configuration is newer, though the number of its election is smaller.
    servers[0].become_a(Role::Secondary);
    servers[1].become_a(Role::Primary(1));
    servers[1].has_configuration(2);
    client.run(&insert()).await?;
    assert_eq!(servers[1].heard("insert").len(), 1);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_settings_preference_is_told_to_the_server() -> Result<()> {
    let servers = Scripted::set(2).await?;
    let front = Front::start(&servers, "readPreference=secondary").await?;
    let mut client = front.client().await?;
    client.run(&find()).await?;
    let heard = servers[1].heard("find");
    let told = heard[0].body.get_document("$readPreference")?;
    assert_eq!(told.get_str("mode")?, "secondary");
    client.run(&insert()).await?;
    assert_eq!(servers[0].heard("insert").len(), 1);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn members_come_and_go() -> Result<()> {
    let mut servers = Scripted::set(2).await?;
    let front = Front::start(&servers[..1], "heartbeatFrequencyMS=500").await?;
    let mut client = front.client().await?;
    client.run(&reading("secondary")).await?;
    // The secondary is gone; a read that wants one can't have it, one that prefers it can.
    let gone = servers.pop().context("a secondary")?;
    drop(gone);
    let answer = client.run(&reading("secondaryPreferred")).await?;
    assert_eq!(place_of(&answer)?, servers[0].place.to_string());
    front.stop().await;
    Ok(())
}

/// A server takes the client's metadata once for each connection, and may refuse it later.
#[tokio::test]
async fn metadata_is_told_once_for_each_connection() -> Result<()> {
    let servers = [Scripted::start(Role::Standalone).await?];
    let front = Front::start(&servers, "heartbeatFrequencyMS=500").await?;
    let told = |heard: &Heard| matches!(heard.body.get("client"), Ok(Some(_)));
    until("a connection is asked again", || {
        let mut seen = BTreeSet::new();
        let hellos = servers[0].heard("isMaster");
        hellos.iter().any(|heard| !seen.insert(heard.connection))
    })
    .await?;
    let mut seen = BTreeSet::new();
    for heard in servers[0].heard("isMaster") {
        assert_eq!(told(&heard), seen.insert(heard.connection), "{heard:?}");
    }
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_server_of_another_set_is_not_taken() -> Result<()> {
    let servers = Scripted::set(1).await?;
    let front = Front::start(&servers, "replicaSet=other").await?;
    let mut client = Raw::connect(front.port).await?;
    let refused = client.ask(&rawdoc! { "hello": 1, "$db": "admin" }).await?;
    let message = refused.get_str("errmsg")?;
    assert!(
        message.contains("belongs to the replica set `rs`"),
        "{message}"
    );
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_transaction_stays_with_its_mongos() -> Result<()> {
    let servers = [
        Scripted::start(Role::Mongos).await?,
        Scripted::start(Role::Mongos).await?,
    ];
    let front = Front::start(&servers, "localThresholdMS=10000").await?;
    let mut client = front.client().await?;
    client.run(&begins(insert(), 1, 1)).await?;
    for _ in 0..10 {
        client.run(&goes_on(insert(), 1, 1)).await?;
    }
    client.run(&commit(1, 1)).await?;
    // Sent again, it goes to the same one.
    client.run(&commit(1, 1)).await?;
    let counts: Vec<(usize, usize)> = servers
        .iter()
        .map(|each| {
            (
                each.heard("insert").len(),
                each.heard("commitTransaction").len(),
            )
        })
        .collect();
    assert!(
        counts.contains(&(11, 2)) && counts.contains(&(0, 0)),
        "{counts:?}"
    );
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn one_server_can_be_asked_whatever_it_is() -> Result<()> {
    let servers = Scripted::set(2).await?;
    let front = Front::start(&servers[1..], "directConnection=true").await?;
    let mut client = front.client().await?;
    client.run(&find()).await?;
    let heard = servers[1].heard("find");
    // Else a secondary would refuse.
    let told = heard[0].body.get_document("$readPreference")?;
    assert_eq!(told.get_str("mode")?, "primaryPreferred");
    assert_eq!(code(&client.ask(&insert()).await?), 6);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_stale_secondary_takes_no_seed_away() -> Result<()> {
    let place = Scripted::start(Role::Standalone).await?.place;
    // It knows of itself alone, and is the first to answer.
    let stale = Scripted::start(Role::Secondary).await?;
    let url = format!(
        "mongodb://{place},{}/?replicaSet=rs&heartbeatFrequencyMS=500",
        stale.place
    );
    let front = Front::forwarding(&url, "").await?;
    let mut client = front.client().await?;
    client.run(&reading("secondary")).await?;
    let primary = Scripted::at(place, Role::Primary(9)).await?;
    client.run(&insert()).await?;
    assert_eq!(primary.heard("insert").len(), 1);
    front.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_idle_transaction_is_aborted() -> Result<()> {
    let servers = Scripted::set(1).await?;
    let front = Front::with(&servers, "", "idle_transaction_timeout = \"1s\"").await?;
    let wing = front.running.mongo_wing().context("no MongoDB port")?;
    let mut client = front.client().await?;
    client.run(&begins(insert(), 1, 1)).await?;
    // It is not idle while a command takes long.
    servers[0].is_late("count", Duration::from_secs(4));
    client.run(&goes_on(count(), 1, 1)).await?;
    assert!(servers[0].heard("abortTransaction").is_empty());
    drop(client);
    servers[0].hears("abortTransaction").await?;
    let heard = servers[0].heard("abortTransaction");
    assert_eq!(heard[0].body.get_document("lsid")?, &*session(1));
    assert_eq!(heard[0].body.get_i64("txnNumber")?, 1);
    assert_eq!(wing.transactions(), 0);
    front.stop().await;
    Ok(())
}
