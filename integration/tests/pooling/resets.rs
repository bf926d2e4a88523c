//! What a RESET goes to is set behind it by the proxy. Inside a transaction nothing must be seen of that: no snapshot is
//! taken before the client's own first query, and what it has set since stays.

use anyhow::Result;

use super::raw::Raw;
use super::support::{Scene, on_both};

/// What the client asks for at login. A list is spelled as SET spells it.
const OPTIONS: &str = "-c search_path=tenant_a,\"B\\ c\" -c datestyle=SQL,DMY -c timezone=Asia/Tokyo \
    -c app.tenant=it's -c work_mem=5MB -c role=guest";

const ALL: &str = "SELECT current_setting('search_path') || '|' || current_setting('datestyle') || '|' ||
    current_setting('timezone') || '|' || current_setting('app.tenant') || '|' || current_setting('work_mem') ||
    '|' || current_user";

const ASKED_FOR: &str = "tenant_a, \"B c\"|SQL, DMY|Asia/Tokyo|it's|5MB|guest";

const SERIALIZABLE: &str = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE";

async fn scene(major: u32, lines: &str) -> Result<Scene> {
    let scene = Scene::on(major, 1, lines).await?;
    scene
        .admin
        .batch_execute("CREATE ROLE guest; GRANT guest TO app")
        .await?;
    Ok(scene)
}

/// Some servers report the search path, others don't.
async fn done(client: &mut Raw, text: &str) -> Result<String> {
    Ok(client.query(text).answer().await?.replace('S', ""))
}

/// What the client reads, by one statement.
async fn read(client: &mut Raw, sql: &str) -> Result<String> {
    client.taken();
    let tags = done(client, sql).await?;
    anyhow::ensure!(tags == "TDCZ", "{tags}");
    Ok(client.taken().concat().replace(",\"B", ", \"B"))
}

async fn nothing_is_asked_in_a_transaction(major: u32) -> Result<()> {
    for lines in ["", "mode = \"session\""] {
        let scene = scene(major, lines).await?;
        let mut client = scene.raw_with(OPTIONS).await?;
        assert_eq!(read(&mut client, ALL).await?, ASKED_FOR);
        for reset in [
            "RESET ALL",
            "RESET search_path;",
            "SET search_path TO DEFAULT",
            "SET SESSION \"DateStyle\"=DEFAULT",
            "SET TIME ZONE DEFAULT",
            "SET TIME ZONE LOCAL",
            "RESET app.\"tenant\"",
            "RESET ROLE",
            "SET default_transaction_read_only = off",
        ] {
            for extended in [false, true] {
                done(&mut client, "BEGIN").await?;
                let tags = if extended {
                    client.parse("", reset).run("").sync().await?
                } else {
                    client.query(reset).answer().await?
                };
                assert!(tags.replace('S', "").ends_with("CZ"), "{tags} {reset}");
                assert_eq!(done(&mut client, SERIALIZABLE).await?, "CZ", "{reset}");
                assert_eq!(read(&mut client, ALL).await?, ASKED_FOR, "{reset}");
                done(&mut client, "COMMIT").await?;
                assert_eq!(read(&mut client, ALL).await?, ASKED_FOR, "{reset}");
            }
        }
    }
    Ok(())
}

async fn what_was_set_since_stays(major: u32) -> Result<()> {
    const PATH: &str = "SHOW search_path";
    let scene = scene(major, "").await?;
    let mut client = scene
        .raw_with("-c search_path=tenant_a -c work_mem=5MB")
        .await?;
    for reset in ["RESET ALL", "RESET search_path", "RESET work_mem"] {
        // In the same batch, in the same text, and behind it.
        done(&mut client, "BEGIN").await?;
        client.query(reset).query("SET search_path = tenant_b");
        client.answer().await?;
        client.until(b'Z').await?;
        assert_eq!(read(&mut client, PATH).await?, "tenant_b", "{reset}");
        client.parse("", reset).parse("set", "SET search_path = b");
        client.bind("", "").execute("").run("set").sync().await?;
        assert_eq!(read(&mut client, PATH).await?, "b", "{reset}");
        client.close("set").sync().await?;
        let text = format!("{reset}; SET search_path = tenant_b");
        done(&mut client, &text).await?;
        done(&mut client, "COMMIT").await?;
        assert_eq!(read(&mut client, PATH).await?, "tenant_b", "{reset}");
        done(&mut client, "RESET ALL").await?;
    }
    // What was set before, where it is rolled back; and what is set for the transaction alone.
    done(&mut client, "SET search_path = tenant_b").await?;
    done(&mut client, "BEGIN").await?;
    done(&mut client, "RESET ALL").await?;
    assert_eq!(read(&mut client, PATH).await?, "tenant_a");
    done(&mut client, "ROLLBACK").await?;
    assert_eq!(read(&mut client, PATH).await?, "tenant_b");
    done(&mut client, "BEGIN").await?;
    done(&mut client, "SAVEPOINT s").await?;
    done(&mut client, "RESET search_path").await?;
    done(&mut client, "ROLLBACK TO s").await?;
    done(&mut client, "SET LOCAL search_path = b").await?;
    done(&mut client, "RESET work_mem").await?;
    assert_eq!(read(&mut client, PATH).await?, "b");
    done(&mut client, "COMMIT").await?;
    assert_eq!(read(&mut client, PATH).await?, "tenant_b");
    Ok(())
}

async fn who_did_not_execute_it_keeps_what_he_has_set(major: u32) -> Result<()> {
    let scene = scene(major, "").await?;
    let mut client = scene.raw_with("-c search_path=tenant_a").await?;
    for begin in ["BEGIN", "SELECT 1"] {
        done(&mut client, "SET search_path = tenant_b").await?;
        done(&mut client, begin).await?;
        client.parse("", "SELECT 1 / 0").run("");
        client.parse("", "RESET ALL").run("").sync().await?;
        done(&mut client, "ROLLBACK").await?;
        // Bound and not executed.
        client.parse("", "RESET ALL").bind("", "").sync().await?;
        assert_eq!(read(&mut client, "SHOW search_path").await?, "tenant_b");
    }
    Ok(())
}

on_both! {
    nothing_is_asked_in_a_transaction,
    what_was_set_since_stays,
    who_did_not_execute_it_keeps_what_he_has_set,
}
