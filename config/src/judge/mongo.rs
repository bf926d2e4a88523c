//! The MongoDB port beside the rest.

use crate::build::overlap;
use crate::read::Section;
use crate::settings::{AuthMethod, Mongo, Settings, TlsMode};

pub(super) fn judge(root: &Section<'_>, settings: &Settings) {
    if let Some(mongo) = &settings.mongo {
        let section = root.section("mongo");
        places(&section, mongo, settings);
        proofs(root, &section, mongo);
    }
}

fn places(section: &Section<'_>, mongo: &Mongo, settings: &Settings) {
    if section
        .texts("listen")
        .is_some_and(|texts| texts.is_empty())
    {
        section.refuse(
            "listen",
            "is empty",
            "add an address, or remove [mongo] if the port isn't wanted",
        );
    }
    let postgres = settings.postgres.listen.iter();
    let postgres = postgres.map(|address| (*address, "postgres.listen"));
    let http = settings.admin.http.map(|address| (address, "admin.http"));
    for (taken, by) in postgres.chain(http) {
        if let Some(own) = mongo.listen.iter().find(|own| overlap(**own, taken)) {
            section.refuse(
                "listen",
                format!("`{own}` is taken by `{taken}` of `{by}`"),
                "choose another port",
            );
        }
    }
}

fn proofs(root: &Section<'_>, section: &Section<'_>, mongo: &Mongo) {
    let auth = section.section("auth");
    match mongo.auth.method {
        AuthMethod::Trust => {
            let open = mongo.listen.iter().find(|own| !own.ip().is_loopback());
            if let Some(open) = open {
                auth.refuse(
                    "method",
                    format!("`trust` lets everybody in who reaches `{open}`"),
                    "listen on 127.0.0.1 or [::1] only, or use scram",
                );
            }
            let nobody = mongo
                .upstream
                .database()
                .is_some_and(|database| database.upstream.user.is_none());
            if nobody {
                auth.refuse(
                    "method",
                    "`trust` leaves nobody to log in upstream",
                    "write postgres://user:password@host/… in `mongo.upstream`",
                );
            }
        }
        AuthMethod::Cert => {
            if !section.section("tls").has("client_ca") {
                auth.refuse(
                    "method",
                    "`cert` needs to know whose certificates are good",
                    "set mongo.tls.client_ca to a PEM file with their authorities",
                );
            } else if mongo.tls.mode == TlsMode::Allow {
                auth.refuse(
                    "method",
                    "`cert` can't work for clients without TLS",
                    "set mongo.tls.mode to require or verify-ca",
                );
            }
        }
        AuthMethod::ScramSha256 | AuthMethod::Md5 => {
            if root.section("users").names().is_empty() {
                auth.refuse(
                    "method",
                    "nobody can log in: no user is known",
                    "add [users.NAME] with a password",
                );
            }
        }
    }
}
