// The Java driver against the MongoDB port: one file, run with the driver's jars on the class path.

import static checks.Checks.annotated;
import static checks.Checks.check;
import static checks.Checks.equal;

import checks.Checks;
import checks.Checks.Check;
import com.mongodb.ConnectionString;
import com.mongodb.MongoBulkWriteException;
import com.mongodb.MongoClientSettings;
import com.mongodb.MongoCompressor;
import com.mongodb.MongoCredential;
import com.mongodb.MongoException;
import com.mongodb.client.ClientSession;
import com.mongodb.client.MongoClient;
import com.mongodb.client.MongoClients;
import com.mongodb.client.MongoCollection;
import com.mongodb.client.MongoCursor;
import com.mongodb.client.model.Aggregates;
import com.mongodb.client.model.Accumulators;
import com.mongodb.client.model.DeleteOneModel;
import com.mongodb.client.model.Filters;
import com.mongodb.client.model.IndexOptions;
import com.mongodb.client.model.Indexes;
import com.mongodb.client.model.InsertManyOptions;
import com.mongodb.client.model.InsertOneModel;
import com.mongodb.client.model.InsertOneOptions;
import com.mongodb.client.model.Sorts;
import com.mongodb.client.model.UpdateOneModel;
import com.mongodb.client.model.UpdateOptions;
import com.mongodb.client.model.Updates;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import javax.net.ssl.SSLContext;
import org.bson.BsonRegularExpression;
import org.bson.BsonTimestamp;
import org.bson.Document;
import org.bson.types.Binary;
import org.bson.types.Code;
import org.bson.types.CodeWithScope;
import org.bson.types.Decimal128;
import org.bson.types.MaxKey;
import org.bson.types.MinKey;
import org.bson.types.ObjectId;
import org.bson.types.Symbol;

public class MongoSuite {
    private static final ConnectionString URL = new ConnectionString(System.getenv("TWINPORT_TEST_URL"));
    private static final ConnectionString OTHER_URL = new ConnectionString(System.getenv("TWINPORT_TEST_OTHER_URL"));
    private static SSLContext trust;

    interface Use {
        void with(MongoClient client, MongoCollection<Document> collection) throws Exception;
    }

    static MongoException fails(int code, Check check) throws Exception {
        return Checks.fails(MongoException.class, MongoException::getCode, code, check);
    }

    static MongoClient connect(ConnectionString url, Consumer<MongoClientSettings.Builder> change) {
        MongoClientSettings.Builder settings = MongoClientSettings.builder()
            .applyConnectionString(url)
            .applyToSslSettings(ssl -> ssl.enabled(true).context(trust))
            .applyToClusterSettings(cluster -> cluster.serverSelectionTimeout(30, TimeUnit.SECONDS));
        change.accept(settings);
        return MongoClients.create(settings.build());
    }

    static void inside(String name, Use use) throws Exception {
        try (MongoClient client = connect(URL, settings -> { })) {
            MongoCollection<Document> collection = client.getDatabase("java").getCollection(name);
            collection.drop();
            use.with(client, collection);
        }
    }

    static List<Document> numbers(int count) {
        return IntStream.range(0, count).mapToObj(number -> new Document("_id", number)).toList();
    }

    static void ping(MongoClient client) {
        equal(client.getDatabase("admin").runCommand(new Document("ping", 1)).get("ok"), 1.0);
    }

    static void loginAs(MongoCredential credential) {
        try (MongoClient client = connect(URL, settings -> settings.credential(credential))) {
            ping(client);
        }
    }

    public static void main(String[] args) throws Exception {
        trust = Checks.trust();
        check("connect_scram_tls", () -> {
            try (MongoClient client = connect(URL, settings -> { })) {
                Document status = client.getDatabase("admin").runCommand(new Document("connectionStatus", 1));
                List<Document> users = status.get("authInfo", Document.class).getList("authenticatedUsers", Document.class);
                equal(users.get(0).get("user"), "app");
            }
        });
        check("connect_by_each_mechanism", () -> {
            char[] password = URL.getPassword();
            loginAs(MongoCredential.createScramSha256Credential("app", "admin", password));
            loginAs(MongoCredential.createScramSha1Credential("app", "admin", password));
        });
        check("wrong_password_refused", () -> {
            MongoException error = fails(-4, () -> loginAs(MongoCredential.createCredential("app", "admin", "not-it".toCharArray())));
            equal(((MongoException) error.getCause()).getCode(), 18);
        });
        check("create_read_update_delete", () -> inside("books", MongoSuite::basics));
        check("types_round_trip", () -> inside("types", MongoSuite::types));
        check("cursor_over_batches", () -> inside("many", MongoSuite::cursors));
        check("bulk_ordered_and_unordered", () -> inside("bulk", MongoSuite::bulk));
        check("aggregation", () -> inside("orders", (client, orders) -> {
            orders.insertMany(IntStream.range(0, 10).mapToObj(n -> new Document("who", n % 2).append("n", n)).toList());
            List<Document> found = orders.aggregate(List.of(
                Aggregates.group("$who", Accumulators.sum("sum", "$n")), Aggregates.sort(Sorts.ascending("_id"))
            )).into(new ArrayList<>());
            equal(found.stream().map(each -> each.get("sum")).toList(), List.of(20, 25));
        }));
        check("indexes_and_duplicate_key", () -> inside("people", (client, people) -> {
            equal(people.createIndex(Indexes.ascending("email"), new IndexOptions().unique(true)), "email_1");
            people.insertOne(new Document("email", "a"));
            fails(11000, () -> people.insertOne(new Document("email", "a")));
            people.dropIndex("email_1");
            people.insertOne(new Document("email", "a"));
        }));
        check("transaction_commit_and_abort", () -> inside("accounts", MongoSuite::transactions));
        check("retryable_writes", () -> inside("retried", (client, retried) -> {
            for (int turn = 0; turn < 10; turn++) {
                retried.updateOne(Filters.eq("_id", 1), Updates.inc("n", 1), new UpdateOptions().upsert(true));
            }
            equal(retried.find().first(), new Document("_id", 1).append("n", 10));
        }));
        check("compression", () -> {
            try (MongoClient client = connect(URL, settings -> settings.compressorList(List.of(MongoCompressor.createZlibCompressor())))) {
                MongoCollection<Document> packed = client.getDatabase("java").getCollection("packed");
                packed.drop();
                packed.insertOne(new Document("text", "a".repeat(100_000)));
                equal(packed.find().first().getString("text").length(), 100_000);
            }
        });
        check("two_users_kept_apart", () -> inside("apart", MongoSuite::apart));
        check("more_clients_than_connections", () -> inside("crowd", MongoSuite::crowd));
        annotated("include", MongoSuite::include);
        annotated("upsert", () -> inside("upserted", (client, people) -> {
            people.createIndex(Indexes.ascending("email"), new IndexOptions().unique(true));
            for (int n = 0; n < 2; n++) {
                people.insertOne(new Document("email", "a").append("n", n), new InsertOneOptions().comment("@upsert(email)"));
            }
            equal(people.find().into(new ArrayList<>()).stream().map(each -> each.get("n")).toList(), List.of(1));
        }));
        Checks.end();
    }

    static void basics(MongoClient client, MongoCollection<Document> books) {
        books.insertOne(new Document("_id", 1).append("title", "Mort"));
        equal(books.updateOne(Filters.eq("_id", 1), Updates.set("price", 8)).getModifiedCount(), 1L);
        equal(books.find(Filters.eq("title", "Mort")).first(), new Document("_id", 1).append("title", "Mort").append("price", 8));
        equal(books.countDocuments(), 1L);
        equal(books.findOneAndUpdate(Filters.eq("_id", 1), Updates.inc("price", 1)).get("price"), 8);
        equal(books.deleteMany(new Document()).getDeletedCount(), 1L);
        equal(books.find().first(), null);
    }

    static void types(MongoClient client, MongoCollection<Document> types) {
        Document sent = new Document("_id", 1)
            .append("double", 0.1)
            .append("string", "grün")
            .append("document", new Document("a", new Document()))
            .append("array", List.of(1, "two"))
            .append("binary", new Binary((byte) 128, new byte[] {0, -1}))
            .append("id", new ObjectId())
            .append("yes", true)
            .append("date", new Date(-62135596800000L))
            .append("nothing", null)
            .append("regex", new BsonRegularExpression("^a", "im"))
            .append("code", new Code("f()"))
            .append("symbol", new Symbol("s"))
            .append("scoped", new CodeWithScope("x", new Document("x", 1)))
            .append("int", -1)
            .append("timestamp", new BsonTimestamp(1700000000, 7))
            .append("long", 1L)
            .append("decimal", Decimal128.parse("1.2300E+5"))
            .append("least", new MinKey())
            .append("most", new MaxKey());
        types.insertOne(sent);
        Document found = types.find().first();
        for (String name : sent.keySet()) {
            equal(name + " " + found.get(name), name + " " + sent.get(name));
        }
        equal(found.toBsonDocument(), sent.toBsonDocument());
    }

    static void cursors(MongoClient client, MongoCollection<Document> many) {
        many.insertMany(numbers(1000));
        for (int size : new int[] {2, 101, 1000}) {
            List<Document> found = many.find().sort(Sorts.ascending("_id")).batchSize(size).into(new ArrayList<>());
            equal(found, numbers(1000));
        }
        try (MongoCursor<Document> cursor = many.find().batchSize(5).cursor()) {
            cursor.next();
        }
    }

    static void bulk(MongoClient client, MongoCollection<Document> bulk) {
        var result = bulk.bulkWrite(List.of(
            new InsertOneModel<>(new Document("_id", 1)),
            new UpdateOneModel<>(Filters.eq("_id", 2), Updates.set("x", 1), new UpdateOptions().upsert(true)),
            new DeleteOneModel<>(Filters.eq("_id", 1))));
        equal(List.of(result.getInsertedCount(), result.getUpserts().size(), result.getDeletedCount()), List.of(1, 1, 1));
        for (boolean ordered : new boolean[] {true, false}) {
            List<Document> documents = List.of(new Document("a", 1), new Document("_id", 2), new Document("a", 1));
            try {
                bulk.insertMany(documents, new InsertManyOptions().ordered(ordered));
                throw new AssertionError("a duplicate was inserted");
            } catch (MongoBulkWriteException error) {
                equal(error.getWriteErrors().size(), 1);
                equal(error.getWriteErrors().get(0).getCode(), 11000);
                equal(error.getWriteErrors().get(0).getIndex(), 1);
            }
        }
        equal(bulk.countDocuments(Filters.eq("a", 1)), 3L);
    }

    static void transactions(MongoClient client, MongoCollection<Document> accounts) throws Exception {
        accounts.insertOne(new Document("_id", 1));
        try (ClientSession session = client.startSession()) {
            session.withTransaction(() -> accounts.insertOne(session, new Document("_id", 2)));
            session.startTransaction();
            accounts.insertOne(session, new Document("_id", 3));
            equal(accounts.countDocuments(session), 3L);
            equal(accounts.countDocuments(), 2L);
            session.abortTransaction();
            session.startTransaction();
            fails(11000, () -> accounts.insertOne(session, new Document("_id", 1)));
            session.abortTransaction();
        }
        equal(accounts.countDocuments(), 2L);
    }

    static void apart(MongoClient client, MongoCollection<Document> apart) {
        apart.insertMany(numbers(100));
        try (MongoCursor<Document> cursor = apart.find().batchSize(10).cursor(); MongoClient other = connect(OTHER_URL, settings -> { })) {
            Document command = new Document("getMore", cursor.getServerCursor().getId()).append("collection", "apart");
            try {
                other.getDatabase("java").runCommand(command);
                throw new AssertionError("a cursor answered another user");
            } catch (MongoException error) {
                equal(error.getCode() == 13 || error.getCode() == 43, true);
            }
            int count = 0;
            while (cursor.hasNext()) {
                cursor.next();
                count++;
            }
            equal(count, 100);
        }
    }

    static void crowd(MongoClient client, MongoCollection<Document> crowd) throws Exception {
        crowd.insertOne(new Document("_id", 7));
        Checks.together(number -> {
            try (MongoClient own = connect(URL, settings -> { })) {
                for (int turn = 0; turn < 10; turn++) {
                    equal(own.getDatabase("java").getCollection("crowd").find().first().get("_id"), 7);
                }
            }
        });
    }

    static void include() {
        try (MongoClient client = connect(URL, settings -> { })) {
            var library = client.getDatabase("library");
            library.drop();
            library.getCollection("authors").insertMany(numbers(2));
            library.getCollection("books").insertOne(new Document("title", "Mort").append("author_id", 1));
            List<Document> found = library.getCollection("authors").find().sort(Sorts.ascending("_id"))
                .comment("@include(books)").into(new ArrayList<>());
            equal(found.stream().map(each -> each.getList("books", Document.class).size()).toList(), List.of(0, 1));
        }
    }
}
