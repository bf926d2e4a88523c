// The Go driver against the MongoDB port. The program runs named checks, prints `ok NAME` or
// `not ok NAME: reason` for each, and exits non-zero if any failed.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

var (
	target    = os.Getenv("TWINPORT_TEST_URL")
	other     = os.Getenv("TWINPORT_TEST_OTHER_URL")
	annotated = os.Getenv("TWINPORT_TEST_ANNOTATED") == "1"
)

const database = "golang"

type check struct {
	name string
	run  func(context.Context) error
}

func main() {
	checks := []check{
		{"connect_scram_tls", connectScramTLS},
		{"connect_by_each_mechanism", connectByEachMechanism},
		{"wrong_password_refused", wrongPasswordRefused},
		{"create_read_update_delete", createReadUpdateDelete},
		{"types_round_trip", typesRoundTrip},
		{"cursor_over_batches", cursorOverBatches},
		{"bulk_ordered_and_unordered", bulkOrderedAndUnordered},
		{"aggregation", aggregation},
		{"indexes_and_duplicate_key", indexesAndDuplicateKey},
		{"transaction_commit_and_abort", transactionCommitAndAbort},
		{"retryable_write", retryableWrite},
		{"compression", compression},
		{"two_users_kept_apart", twoUsersKeptApart},
		{"more_clients_than_connections", moreClientsThanConnections},
	}
	if annotated {
		checks = append(checks, check{"include", include}, check{"upsert", upsert})
	}
	failed := false
	for _, each := range checks {
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		if err := each.run(ctx); err != nil {
			failed = true
			fmt.Printf("not ok %s: %s\n", each.name, strings.Join(strings.Fields(err.Error()), " "))
		} else {
			fmt.Printf("ok %s\n", each.name)
		}
		stop()
	}
	if failed {
		os.Exit(1)
	}
}

func connectScramTLS(ctx context.Context) error {
	return with(ctx, target, options.Client(), func(client *mongo.Client) error {
		var status struct {
			AuthInfo struct {
				AuthenticatedUsers []struct{ User string } `bson:"authenticatedUsers"`
			} `bson:"authInfo"`
		}
		command := bson.D{{Key: "connectionStatus", Value: 1}}
		if err := client.Database("admin").RunCommand(ctx, command).Decode(&status); err != nil {
			return err
		}
		return equal(fmt.Sprint(status.AuthInfo.AuthenticatedUsers), "[{app}]")
	})
}

func connectByEachMechanism(ctx context.Context) error {
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-1"} {
		if err := with(ctx, target+"&authMechanism="+mechanism, options.Client(), ping(ctx)); err != nil {
			return err
		}
	}
	return nil
}

func wrongPasswordRefused(ctx context.Context) error {
	changed, err := url.Parse(target)
	if err != nil {
		return err
	}
	changed.User = url.UserPassword("app", "not-it")
	err = with(ctx, changed.String(), options.Client(), ping(ctx))
	if err == nil || !strings.Contains(err.Error(), "AuthenticationFailed") {
		return fmt.Errorf("expected AuthenticationFailed, got %v", err)
	}
	return nil
}

func createReadUpdateDelete(ctx context.Context) error {
	return inside(ctx, "books", func(_ *mongo.Client, books *mongo.Collection) error {
		if _, err := books.InsertOne(ctx, bson.M{"_id": 1, "title": "Mort"}); err != nil {
			return err
		}
		updated, err := books.UpdateByID(ctx, 1, bson.M{"$set": bson.M{"price": int32(8)}})
		if err != nil || updated.ModifiedCount != 1 {
			return fmt.Errorf("update: %v %v", updated, err)
		}
		var found bson.M
		if err := books.FindOne(ctx, bson.M{"title": "Mort"}).Decode(&found); err != nil {
			return err
		}
		if err := equal(found, bson.M{"_id": int32(1), "title": "Mort", "price": int32(8)}); err != nil {
			return err
		}
		count, err := books.CountDocuments(ctx, bson.M{})
		if err != nil || count != 1 {
			return fmt.Errorf("count: %v %v", count, err)
		}
		if err := books.FindOneAndDelete(ctx, bson.M{"_id": 1}).Err(); err != nil {
			return err
		}
		if err := books.FindOne(ctx, bson.M{}).Err(); !errors.Is(err, mongo.ErrNoDocuments) {
			return fmt.Errorf("expected no documents, got %v", err)
		}
		return nil
	})
}

func typesRoundTrip(ctx context.Context) error {
	decimal, err := bson.ParseDecimal128("1.2300E+5")
	if err != nil {
		return err
	}
	sent := bson.D{
		{Key: "_id", Value: int32(1)},
		{Key: "double", Value: 0.1},
		{Key: "string", Value: "grün \x00"},
		{Key: "document", Value: bson.D{{Key: "a", Value: bson.D{}}}},
		{Key: "array", Value: bson.A{int32(1), "two", bson.A{nil}}},
		{Key: "binary", Value: bson.Binary{Subtype: 128, Data: []byte{0, 255}}},
		{Key: "undefined", Value: bson.Undefined{}},
		{Key: "id", Value: bson.NewObjectID()},
		{Key: "yes", Value: true},
		{Key: "date", Value: bson.DateTime(-62135596800000)},
		{Key: "nothing", Value: nil},
		{Key: "regex", Value: bson.Regex{Pattern: "^a", Options: "im"}},
		{Key: "pointer", Value: bson.DBPointer{DB: "a.b", Pointer: bson.NewObjectID()}},
		{Key: "code", Value: bson.JavaScript("f()")},
		{Key: "symbol", Value: bson.Symbol("s")},
		{Key: "scoped", Value: bson.CodeWithScope{Code: "x", Scope: bson.D{{Key: "x", Value: int32(1)}}}},
		{Key: "int", Value: int32(-1)},
		{Key: "timestamp", Value: bson.Timestamp{T: 1700000000, I: 7}},
		{Key: "long", Value: int64(1)},
		{Key: "decimal", Value: decimal},
		{Key: "least", Value: bson.MinKey{}},
		{Key: "most", Value: bson.MaxKey{}},
	}
	return inside(ctx, "types", func(_ *mongo.Client, types *mongo.Collection) error {
		if _, err := types.InsertOne(ctx, sent); err != nil {
			return err
		}
		got, err := types.FindOne(ctx, bson.M{"_id": 1}).Raw()
		if err != nil {
			return err
		}
		expected, err := bson.Marshal(sent)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, expected) {
			return fmt.Errorf("expected %v, got %v", bson.Raw(expected), got)
		}
		return nil
	})
}

func cursorOverBatches(ctx context.Context) error {
	return inside(ctx, "many", func(_ *mongo.Client, many *mongo.Collection) error {
		if _, err := many.InsertMany(ctx, numbers(1000)); err != nil {
			return err
		}
		for _, size := range []int32{2, 101, 1000} {
			order := options.Find().SetBatchSize(size).SetSort(bson.M{"_id": 1})
			cursor, err := many.Find(ctx, bson.M{}, order)
			if err != nil {
				return err
			}
			var found []struct {
				ID int `bson:"_id"`
			}
			if err := cursor.All(ctx, &found); err != nil {
				return err
			}
			if len(found) != 1000 || found[999].ID != 999 {
				return fmt.Errorf("batches of %d: %d documents", size, len(found))
			}
		}
		cursor, err := many.Find(ctx, bson.M{}, options.Find().SetBatchSize(5))
		if err != nil {
			return err
		}
		cursor.Next(ctx)
		return cursor.Close(ctx)
	})
}

func bulkOrderedAndUnordered(ctx context.Context) error {
	return inside(ctx, "bulk", func(_ *mongo.Client, bulk *mongo.Collection) error {
		result, err := bulk.BulkWrite(ctx, []mongo.WriteModel{
			mongo.NewInsertOneModel().SetDocument(bson.M{"_id": 1}),
			mongo.NewUpdateOneModel().SetFilter(bson.M{"_id": 2}).SetUpdate(bson.M{"$set": bson.M{"x": 1}}).SetUpsert(true),
			mongo.NewDeleteOneModel().SetFilter(bson.M{"_id": 1}),
		})
		if err != nil {
			return err
		}
		if err := equal([]int64{result.InsertedCount, result.UpsertedCount, result.DeletedCount}, []int64{1, 1, 1}); err != nil {
			return err
		}
		for _, ordered := range []bool{true, false} {
			_, err := bulk.InsertMany(ctx, []any{bson.M{"a": 1}, bson.M{"_id": 2}, bson.M{"a": 1}}, options.InsertMany().SetOrdered(ordered))
			var failure mongo.BulkWriteException
			if !errors.As(err, &failure) || len(failure.WriteErrors) != 1 || failure.WriteErrors[0].Code != 11000 || failure.WriteErrors[0].Index != 1 {
				return fmt.Errorf("expected a duplicate at 1, got %v", err)
			}
		}
		count, err := bulk.CountDocuments(ctx, bson.M{"a": 1})
		if err != nil {
			return err
		}
		return equal(count, int64(3))
	})
}

func aggregation(ctx context.Context) error {
	return inside(ctx, "orders", func(_ *mongo.Client, orders *mongo.Collection) error {
		if _, err := orders.InsertMany(ctx, numbers(10)); err != nil {
			return err
		}
		stages := bson.A{
			bson.M{"$group": bson.M{"_id": bson.M{"$mod": bson.A{"$_id", 2}}, "sum": bson.M{"$sum": "$_id"}}},
			bson.M{"$sort": bson.M{"_id": 1}},
		}
		cursor, err := orders.Aggregate(ctx, stages)
		if err != nil {
			return err
		}
		var sums []struct{ Sum int }
		if err := cursor.All(ctx, &sums); err != nil {
			return err
		}
		return equal(fmt.Sprint(sums), "[{20} {25}]")
	})
}

func indexesAndDuplicateKey(ctx context.Context) error {
	return inside(ctx, "people", func(_ *mongo.Client, people *mongo.Collection) error {
		index := mongo.IndexModel{Keys: bson.D{{Key: "email", Value: 1}}, Options: options.Index().SetUnique(true)}
		name, err := people.Indexes().CreateOne(ctx, index)
		if err != nil {
			return err
		}
		if _, err := people.InsertOne(ctx, bson.M{"email": "a"}); err != nil {
			return err
		}
		_, err = people.InsertOne(ctx, bson.M{"email": "a"})
		if !mongo.IsDuplicateKeyError(err) {
			return fmt.Errorf("expected a duplicate, got %v", err)
		}
		if err := people.Indexes().DropOne(ctx, name); err != nil {
			return err
		}
		_, err = people.InsertOne(ctx, bson.M{"email": "a"})
		return err
	})
}

func transactionCommitAndAbort(ctx context.Context) error {
	return inside(ctx, "accounts", func(client *mongo.Client, accounts *mongo.Collection) error {
		if _, err := accounts.InsertOne(ctx, bson.M{"_id": 1}); err != nil {
			return err
		}
		session, err := client.StartSession()
		if err != nil {
			return err
		}
		defer session.EndSession(ctx)
		_, err = session.WithTransaction(ctx, func(ctx context.Context) (any, error) {
			return accounts.InsertOne(ctx, bson.M{"_id": 2})
		})
		if err != nil {
			return err
		}
		undo := errors.New("undo")
		_, err = session.WithTransaction(ctx, func(ctx context.Context) (any, error) {
			if _, err := accounts.InsertOne(ctx, bson.M{"_id": 3}); err != nil {
				return nil, err
			}
			return nil, undo
		})
		if !errors.Is(err, undo) {
			return err
		}
		count, err := accounts.CountDocuments(ctx, bson.M{})
		if err != nil {
			return err
		}
		return equal(count, int64(2))
	})
}

func retryableWrite(ctx context.Context) error {
	return inside(ctx, "retried", func(client *mongo.Client, retried *mongo.Collection) error {
		for number := range 10 {
			filter, change := bson.M{"_id": 1}, bson.M{"$inc": bson.M{"n": 1}}
			if _, err := retried.UpdateOne(ctx, filter, change, options.UpdateOne().SetUpsert(true)); err != nil {
				return fmt.Errorf("%d: %w", number, err)
			}
		}
		var found struct{ N int }
		if err := retried.FindOne(ctx, bson.M{}).Decode(&found); err != nil {
			return err
		}
		return equal(found.N, 10)
	})
}

func compression(ctx context.Context) error {
	for _, name := range []string{"snappy", "zlib", "zstd"} {
		settings := options.Client().SetCompressors([]string{name})
		err := with(ctx, target, settings, func(client *mongo.Client) error {
			packed := client.Database(database).Collection("packed")
			text := strings.Repeat("a", 100_000)
			if _, err := packed.InsertOne(ctx, bson.M{"_id": name, "text": text}); err != nil {
				return err
			}
			var found struct{ Text string }
			if err := packed.FindOneAndDelete(ctx, bson.M{"_id": name}).Decode(&found); err != nil {
				return err
			}
			return equal(found.Text, text)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func twoUsersKeptApart(ctx context.Context) error {
	return inside(ctx, "apart", func(_ *mongo.Client, apart *mongo.Collection) error {
		if _, err := apart.InsertMany(ctx, numbers(100)); err != nil {
			return err
		}
		cursor, err := apart.Find(ctx, bson.M{}, options.Find().SetBatchSize(10))
		if err != nil {
			return err
		}
		err = with(ctx, other, options.Client(), func(theirs *mongo.Client) error {
			command := bson.D{{Key: "getMore", Value: cursor.ID()}, {Key: "collection", Value: "apart"}}
			err := theirs.Database(database).RunCommand(ctx, command).Err()
			if fails(err, 13) != nil && fails(err, 43) != nil {
				return fmt.Errorf("a cursor answered another user: %v", err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		var found []bson.Raw
		if err := cursor.All(ctx, &found); err != nil {
			return err
		}
		return equal(len(found), 100)
	})
}

func moreClientsThanConnections(ctx context.Context) error {
	var group sync.WaitGroup
	results := make([]error, 20)
	for at := range results {
		group.Go(func() {
			results[at] = with(ctx, target, options.Client(), func(client *mongo.Client) error {
				for range 10 {
					if err := client.Database(database).Collection("many").FindOne(ctx, bson.M{"_id": 7}).Err(); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	group.Wait()
	return errors.Join(results...)
}

func include(ctx context.Context) error {
	return with(ctx, target, options.Client(), func(client *mongo.Client) error {
		library := client.Database("library")
		if err := library.Drop(ctx); err != nil {
			return err
		}
		if _, err := library.Collection("authors").InsertMany(ctx, numbers(2)); err != nil {
			return err
		}
		book := bson.M{"_id": 1, "title": "Mort", "author_id": int32(1)}
		if _, err := library.Collection("books").InsertOne(ctx, book); err != nil {
			return err
		}
		order := options.Find().SetComment("@include(books)").SetSort(bson.M{"_id": 1})
		cursor, err := library.Collection("authors").Find(ctx, bson.M{}, order)
		if err != nil {
			return err
		}
		var found []struct{ Books []struct{ Title string } }
		if err := cursor.All(ctx, &found); err != nil {
			return err
		}
		return equal(fmt.Sprint(found), "[{[]} {[{Mort}]}]")
	})
}

func upsert(ctx context.Context) error {
	return inside(ctx, "upserted", func(_ *mongo.Client, people *mongo.Collection) error {
		index := mongo.IndexModel{Keys: bson.D{{Key: "email", Value: 1}}, Options: options.Index().SetUnique(true)}
		if _, err := people.Indexes().CreateOne(ctx, index); err != nil {
			return err
		}
		for number := range 2 {
			comment := options.InsertOne().SetComment("@upsert(email)")
			if _, err := people.InsertOne(ctx, bson.M{"email": "a", "n": number}, comment); err != nil {
				return err
			}
		}
		var found []struct{ N int }
		cursor, err := people.Find(ctx, bson.M{})
		if err != nil {
			return err
		}
		if err := cursor.All(ctx, &found); err != nil {
			return err
		}
		return equal(fmt.Sprint(found), "[{1}]")
	})
}
