//! `[mongo.relations.COLLECTION.NAME]`.

use crate::read::Section;
use crate::relation::{MongoRelation, MongoThrough};

/// Words of `kind`: whether there are many.
pub(crate) const KINDS: &[(&str, bool)] = &[("one", false), ("many", true)];

const PATH: &str = "write names with `.` between, such as author_id or meta.author_id; the key of a DBRef in `author` \
                    is author.$id";

/// Reads all relations. What is refused is left out.
pub(crate) fn relations(section: &Section<'_>) -> Vec<MongoRelation> {
    let mut relations = Vec::new();
    for collection in section.names() {
        let of_collection = section.section(&collection);
        check_collection(&of_collection, "", &collection);
        let mut found: Vec<MongoRelation> = Vec::new();
        for name in of_collection.names() {
            let table = of_collection.section(&name);
            if let Some(relation) = relation(&table, &collection, &name) {
                check_beside(&table, &relation, &found);
                found.push(relation);
            }
        }
        relations.append(&mut found);
    }
    relations
}

fn relation(section: &Section<'_>, collection: &str, name: &str) -> Option<MongoRelation> {
    if !is_path(name) || name.contains('.') || name == "_id" {
        let hint = "name it as a field: not empty, not _id, without `.`, with no `$` before it";
        section.refuse("", "can't be the name of a field that is added", hint);
    }
    for (key, hint) in [
        ("target", "name the collection it leads to"),
        ("kind", "write \"one\" or \"many\""),
    ] {
        if !section.has(key) {
            section.refuse("", format!("has no `{key}`"), hint);
        }
    }
    let target = section.text("target");
    if let Some(target) = &target {
        check_collection(section, "target", target);
    }
    let many = section.word("kind", KINDS);
    let through = through(section);
    let plain = section.has("through");
    if !["local", "foreign", "through"]
        .into_iter()
        .any(|key| section.has(key))
    {
        let hint = "set `local` to the field here that holds the other's _id, or `foreign` to the field there that \
                    holds this one's";
        section.refuse("", "names no field to go by", hint);
    }
    if plain && many == Some(false) {
        section.refuse(
            "kind",
            "is `one`, but the way is through a collection",
            "write \"many\"",
        );
    }
    Some(MongoRelation {
        collection: collection.to_owned(),
        name: name.to_owned(),
        local: field(section, "local", plain).unwrap_or_else(id),
        foreign: field(section, "foreign", plain).unwrap_or_else(id),
        target: target?,
        many: many?,
        through,
    })
}

fn id() -> String {
    "_id".to_owned()
}

fn through(section: &Section<'_>) -> Option<MongoThrough> {
    let keys = ["through", "through_local", "through_foreign"];
    if !keys.into_iter().any(|key| section.has(key)) {
        return None;
    }
    if let Some(missing) = keys.into_iter().find(|key| !section.has(key)) {
        let hint = "`through` names the collection in between, `through_local` and `through_foreign` its fields";
        section.refuse("", format!("has no `{missing}`"), hint);
    }
    let collection = section.text("through")?;
    check_collection(section, "through", &collection);
    Some(MongoThrough {
        collection,
        local: field(section, "through_local", true)?,
        foreign: field(section, "through_foreign", true)?,
    })
}

/// A field's path; if it is not `plain`, it may end in the key of a DBRef.
fn field(section: &Section<'_>, key: &str, plain: bool) -> Option<String> {
    let path = section.text(key)?;
    let body = path
        .strip_suffix(".$id")
        .filter(|_| !plain)
        .unwrap_or(&path);
    if !is_path(body) {
        section.refuse(
            key,
            format!("`{}` is not the path of a field", path.escape_debug()),
            PATH,
        );
    }
    Some(path)
}

fn check_collection(section: &Section<'_>, key: &str, name: &str) {
    if name.is_empty() || name.contains(['$', '\0']) || name.starts_with('.') {
        let message = format!("`{}` is not the name of a collection", name.escape_debug());
        section.refuse(key, message, "write it as in the database");
    }
}

/// Refuses a relation that would overwrite the key of another one of its collection, or the other way round.
fn check_beside(section: &Section<'_>, relation: &MongoRelation, others: &[MongoRelation]) {
    for other in others {
        for (one, another) in [(relation, other), (other, relation)] {
            if another.local.split('.').next() == Some(&one.name) {
                let message = format!(
                    "`{}` would overwrite the key of `{}`",
                    one.name, another.name
                );
                section.refuse("", message, "give one of them another name");
            }
        }
    }
}

fn is_path(path: &str) -> bool {
    let good = |part: &str| !part.is_empty() && !part.starts_with('$') && !part.contains('\0');
    path.split('.').all(good)
}
