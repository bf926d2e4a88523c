//! Relations between collections, as `[mongo.relations]` declares them.

/// `[mongo.relations.COLLECTION.NAME]`: a named way from a collection's documents to related ones, for `@include`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MongoRelation {
    /// The collection it starts at.
    pub collection: String,
    /// Its name: the field that `@include` adds.
    pub name: String,
    /// The collection it leads to.
    pub target: String,
    /// The path of the key here.
    pub local: String,
    /// The path of the key there.
    pub foreign: String,
    /// Whether it leads to any number of documents.
    pub many: bool,
    /// The collection in between, if there is one.
    pub through: Option<MongoThrough>,
}

/// The collection in between, in a many-to-many relation that has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MongoThrough {
    /// Its name.
    pub collection: String,
    /// Its field that is equal to [`MongoRelation::local`].
    pub local: String,
    /// Its field that is equal to [`MongoRelation::foreign`].
    pub foreign: String,
}
