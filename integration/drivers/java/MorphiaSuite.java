// Morphia, an ODM over the Java driver, against the MongoDB port: one file, run with the jars on the class path.
// Annotations go by its own options: `FindOptions.comment`, `InsertOneOptions.comment`.

import static checks.Checks.annotated;
import static checks.Checks.check;
import static checks.Checks.equal;
import static dev.morphia.aggregation.expressions.AccumulatorExpressions.sum;
import static dev.morphia.aggregation.expressions.Expressions.field;
import static dev.morphia.aggregation.expressions.Expressions.value;
import static dev.morphia.query.Sort.ascending;
import static dev.morphia.query.Sort.descending;
import static dev.morphia.query.filters.Filters.eq;
import static dev.morphia.query.filters.Filters.gte;
import static dev.morphia.query.filters.Filters.in;
import static dev.morphia.query.filters.Filters.or;
import static dev.morphia.query.updates.UpdateOperators.inc;
import static dev.morphia.query.updates.UpdateOperators.push;
import static dev.morphia.query.updates.UpdateOperators.set;

import checks.Checks;
import com.mongodb.ConnectionString;
import com.mongodb.MongoClientSettings;
import com.mongodb.MongoException;
import com.mongodb.client.MongoClient;
import com.mongodb.client.MongoClients;
import com.mongodb.client.model.ReturnDocument;
import dev.morphia.Datastore;
import dev.morphia.InsertManyOptions;
import dev.morphia.InsertOneOptions;
import dev.morphia.ModifyOptions;
import dev.morphia.Morphia;
import dev.morphia.UpdateOptions;
import dev.morphia.aggregation.stages.Group;
import dev.morphia.aggregation.stages.Sort;
import dev.morphia.annotations.Entity;
import dev.morphia.annotations.Field;
import dev.morphia.annotations.Id;
import dev.morphia.annotations.Index;
import dev.morphia.annotations.IndexOptions;
import dev.morphia.annotations.Indexed;
import dev.morphia.annotations.Indexes;
import dev.morphia.annotations.Reference;
import dev.morphia.annotations.Version;
import dev.morphia.query.FindOptions;
import java.math.BigDecimal;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.bson.Document;
import org.bson.UuidRepresentation;
import org.bson.types.ObjectId;

// Morphia finds a class by its name, which a class that is run from its source doesn't have: no discriminators.
@SuppressWarnings("removal")
public class MorphiaSuite {
    private static Datastore store;

    @Entity(value = "publishers", useDiscriminator = false)
    public static class Publisher {
        @Id ObjectId id;
        @Indexed(options = @IndexOptions(unique = true)) String name;
        Address address;

        public Publisher() {
        }

        Publisher(String name, String city) {
            this.name = name;
            address = new Address();
            address.city = city;
        }
    }

    @Entity(useDiscriminator = false)
    public static class Address {
        String city;
    }

    @Entity(value = "titles", useDiscriminator = false)
    @Indexes(@Index(fields = {@Field("name"), @Field("year")}))
    public static class Title {
        @Id ObjectId id;
        @Version long version;
        String name;
        int year;
        BigDecimal price = new BigDecimal("1.10");
        LocalDate published = LocalDate.of(1987, 11, 12);
        UUID number = new UUID(1, 2);
        byte[] cover = {0, -1};
        List<String> tags = new ArrayList<>();
        Map<String, Integer> stock = Map.of("London", 3);
        @Reference Publisher publisher;
        @Reference(lazy = true) List<Publisher> also = new ArrayList<>();

        public Title() {
        }

        Title(String name, int year, Publisher publisher) {
            this.name = name;
            this.year = year;
            this.publisher = publisher;
        }
    }

    /** A document that `@include` brought. */
    @Entity(useDiscriminator = false)
    public static class Seen {
        String title;
        String name;
    }

    @Entity(value = "authors", useDiscriminator = false)
    public static class Author {
        @Id Integer id;
        String name;
        List<Seen> books;
    }

    @Entity(value = "books", useDiscriminator = false)
    public static class Book {
        @Id Integer id;
        @Indexed(options = @IndexOptions(unique = true)) String title;
        Integer author_id;
        Seen author;

        public Book() {
        }

        Book(int id, String title, int author) {
            this.id = id;
            this.title = title;
            author_id = author;
        }
    }

    static MongoClient connect() throws Exception {
        var trust = Checks.trust();
        return MongoClients.create(MongoClientSettings.builder()
            .applyConnectionString(new ConnectionString(System.getenv("TWINPORT_TEST_URL")))
            .uuidRepresentation(UuidRepresentation.STANDARD)
            .applyToSslSettings(ssl -> ssl.enabled(true).context(trust))
            .applyToClusterSettings(cluster -> cluster.serverSelectionTimeout(30, TimeUnit.SECONDS))
            .build());
    }

    /** Empty collections, and a publisher with three titles. */
    static Publisher fresh() {
        for (Class<?> model : List.of(Publisher.class, Title.class, Author.class, Book.class)) {
            store.getCollection(model).deleteMany(new Document());
        }
        Publisher publisher = store.save(new Publisher("Gollancz", "London"));
        store.save(List.of(new Title("Mort", 1987, publisher), new Title("Eric", 1990, publisher), new Title("Sourcery", 1988, publisher)));
        return publisher;
    }

    static List<String> names(FindOptions options) {
        return store.find(Title.class).iterator(options).toList().stream().map(title -> title.name).toList();
    }

    public static void main(String[] args) throws Exception {
        try (MongoClient client = connect()) {
            client.getDatabase("morphia").drop();
            store = Morphia.createDatastore(client, "morphia");
            check("indexes_at_start", MorphiaSuite::indexes);
            check("documents_and_changes", MorphiaSuite::documents);
            check("queries", MorphiaSuite::queries);
            check("cursor_over_batches", MorphiaSuite::cursors);
            check("aggregation", MorphiaSuite::aggregation);
            check("references", MorphiaSuite::references);
            check("duplicates_and_versions", MorphiaSuite::duplicates);
            check("upserts", MorphiaSuite::upserts);
            check("transactions", MorphiaSuite::transactions);
            check("plain_comments_pass", () -> {
                fresh();
                equal(names(new FindOptions().comment("for the list").limit(9)).size(), 3);
            });
            annotated("include", MorphiaSuite::include);
            annotated("upsert", MorphiaSuite::upsert);
        }
        Checks.end();
    }

    static void indexes() {
        store.getMapper().map(Publisher.class, Title.class, Author.class, Book.class);
        store.ensureIndexes();
        List<String> found = new ArrayList<>();
        for (Document index : store.getCollection(Title.class).listIndexes()) {
            found.add(index.getString("name"));
        }
        equal(found, List.of("_id_", "name_1_year_1"));
    }

    static void documents() {
        Publisher publisher = fresh();
        Title title = store.find(Title.class).filter(eq("name", "Mort")).first();
        equal(List.of(title.price, title.published, title.number, title.stock, title.publisher.name),
            List.of(new BigDecimal("1.10"), LocalDate.of(1987, 11, 12), new UUID(1, 2), Map.of("London", 3), "Gollancz"));
        equal(title.cover, new byte[] {0, -1});
        title.tags.add("death");
        title.price = new BigDecimal("2.20");
        store.save(title);
        equal(store.find(Title.class).filter(eq("name", "Mort")).update(inc("year"), push("tags", "a")).execute().getModifiedCount(), 1L);
        store.refresh(title);
        equal(List.of(title.year, title.tags, title.price), List.of(1988, List.of("death", "a"), new BigDecimal("2.20")));
        publisher.address.city = "Oxford";
        store.replace(publisher);
        equal(store.find(Publisher.class).first().address.city, "Oxford");
        equal(store.delete(title).getDeletedCount(), 1L);
        equal(store.find(Title.class).count(), 2L);
        equal(store.find(Title.class).filter(gte("year", 1990)).findAndDelete().name, "Eric");
    }

    static void queries() {
        fresh();
        equal(names(new FindOptions().sort(descending("year")).skip(1).limit(1)), List.of("Sourcery"));
        equal(store.find(Title.class).filter(or(eq("name", "Mort"), in("year", List.of(1990, 2000)))).count(), 2L);
        Title part = store.find(Title.class).filter(eq("name", "Mort")).first(new FindOptions().projection().include("name"));
        equal(List.of(part.name, part.year), List.of("Mort", 0));
        equal(store.find(Title.class).filter(eq("name", "none")).first(), null);
        equal(store.find(Title.class).stream(new FindOptions().hint("name_1_year_1")).count(), 3L);
    }

    static void cursors() {
        Publisher publisher = fresh();
        store.insert(IntStream.range(0, 300).mapToObj(n -> new Title(String.valueOf(n), n, publisher)).toList(), new InsertManyOptions());
        var cursor = store.find(Title.class).filter(gte("year", 0)).iterator(
            new FindOptions().batchSize(20).sort(ascending("year")).limit(290));
        equal(cursor.toList().stream().map(title -> title.year).toList(), IntStream.range(0, 290).boxed().toList());
    }

    static void aggregation() {
        fresh();
        List<Document> found = store.aggregate(Title.class)
            .match(gte("year", 1988))
            .group(Group.group(Group.id("publisher")).field("count", sum(value(1))).field("years", sum(field("year"))))
            .sort(Sort.sort().ascending("_id"))
            .execute(Document.class).toList();
        equal(found.stream().map(each -> List.of(each.get("count"), each.get("years"))).toList(), List.of(List.of(2, 3978)));
    }

    static void references() {
        Publisher one = fresh();
        Publisher two = store.save(new Publisher("Corgi", "London"));
        Title title = new Title("Pyramids", 1989, one);
        title.also.addAll(List.of(one, two));
        store.save(title);
        Title found = store.find(Title.class).filter(eq("publisher", one), eq("name", "Pyramids")).first();
        equal(found.also.stream().map(each -> each.name).toList(), List.of("Gollancz", "Corgi"));
    }

    static void duplicates() throws Exception {
        fresh();
        Checks.fails(MongoException.class, MongoException::getCode, 11000, () -> store.save(new Publisher("Gollancz", "Oxford")));
        Title one = store.find(Title.class).first();
        Title other = store.find(Title.class).filter(eq("_id", one.id)).first();
        store.save(one);
        try {
            store.save(other);
            throw new AssertionError("a version that is old was saved");
        } catch (dev.morphia.VersionMismatchException error) {
            equal(store.find(Title.class).count(), 3L);
        }
    }

    static void upserts() {
        fresh();
        var one = store.find(Publisher.class).filter(eq("name", "Corgi"));
        for (String city : List.of("London", "Oxford")) {
            one.update(new UpdateOptions().upsert(true), set("address.city", city));
        }
        equal(one.first().address.city, "Oxford");
        var options = new ModifyOptions().upsert(true).returnDocument(ReturnDocument.AFTER);
        equal(store.find(Publisher.class).filter(eq("name", "New")).modify(options, set("address.city", "Bath")).address.city, "Bath");
        equal(store.find(Publisher.class).count(), 3L);
    }

    static void transactions() {
        Publisher publisher = fresh();
        store.withTransaction(session -> session.save(new Title("Guards", 1989, publisher)));
        try {
            store.withTransaction(session -> {
                session.save(new Title("Undone", 1989, publisher));
                equal(session.find(Title.class).count(), 5L);
                throw new IllegalStateException("undo");
            });
            throw new AssertionError("an error was swallowed");
        } catch (IllegalStateException error) {
            equal(names(new FindOptions().sort(ascending("name"))), List.of("Eric", "Guards", "Mort", "Sourcery"));
        }
    }

    static void library() {
        fresh();
        for (String name : List.of("Terry", "Nobody")) {
            Author author = new Author();
            author.id = name.length();
            author.name = name;
            store.save(author);
        }
        store.insert(List.of(new Book(1, "Mort", 5), new Book(2, "Eric", 5)), new InsertManyOptions());
    }

    static void include() throws Exception {
        library();
        List<Author> found = store.find(Author.class).iterator(
            new FindOptions().comment("@include(books(order: title))").sort(ascending("_id"))).toList();
        equal(found.get(0).books.stream().map(book -> book.title).toList(), List.of("Eric", "Mort"));
        equal(found.get(1).books, List.of());
        equal(store.find(Book.class).filter(eq("title", "Mort")).first(new FindOptions().comment("@include(author)")).author.name, "Terry");
        var some = store.find(Book.class).iterator(new FindOptions().comment("@include(author)").batchSize(1)).toList();
        equal(some.stream().map(book -> book.author.name).toList(), List.of("Terry", "Terry"));
        try {
            store.find(Author.class).first(new FindOptions().comment("@include(boks)"));
            throw new AssertionError("an unknown relation was included");
        } catch (MongoException error) {
            equal(error.getMessage().contains("books"), true);
        }
    }

    static void upsert() {
        library();
        store.insert(new Book(1, "Death's Apprentice", 6), new InsertOneOptions().comment("@upsert(_id)"));
        List<Book> books = List.of(new Book(2, "Faust", 6), new Book(3, "Pyramids", 6));
        store.insert(books, new InsertManyOptions().comment("@upsert(_id)"));
        var found = store.find(Book.class).iterator(new FindOptions().sort(ascending("_id"))).toList();
        equal(found.stream().map(book -> book.title).toList(), List.of("Death's Apprentice", "Faust", "Pyramids"));
    }
}
