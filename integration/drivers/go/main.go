// pgx against the port: binary formats, its statement cache in every execution mode, batches, COPY.
// The program runs named checks, prints `ok NAME` or `not ok NAME: reason` for each, and exits
// non-zero if any failed.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	target    = os.Getenv("TWINPORT_TEST_URL")
	single    = os.Getenv("TWINPORT_TEST_SINGLE_URL")
	annotated = os.Getenv("TWINPORT_TEST_ANNOTATED") == "1"
)

type check struct {
	name string
	run  func(context.Context) error
}

func main() {
	checks := []check{
		{"connect_scram_tls", connectScramTLS},
		{"wrong_password_refused", wrongPasswordRefused},
		{"types_binary", typesBinary},
		{"types_text", typesText},
		{"every_execution_mode", everyExecutionMode},
		{"prepared_reuse", preparedReuse},
		{"transaction_and_savepoint", transactionAndSavepoint},
		{"error_then_usable", errorThenUsable},
		{"batch", batch},
		{"batch_error_then_usable", batchErrorThenUsable},
		{"pipeline", pipeline},
		{"copy_in_and_out", copyInAndOut},
		{"cancel", cancel},
		{"settings_apart", settingsApart},
		{"listen_notify", listenNotify},
		{"more_clients_than_connections", moreClientsThanConnections},
	}
	if annotated {
		checks = append(checks, check{"include", include}, check{"include_of_nothing_known", includeOfNothingKnown},
			check{"upsert", upsert}, check{"include_in_a_batch", includeInABatch})
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

func equal(got, expected any) error {
	if !reflect.DeepEqual(got, expected) {
		return fmt.Errorf("expected %v, got %v", expected, got)
	}
	return nil
}

// with hands a connection to use and closes it afterwards.
func with(ctx context.Context, address string, use func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return use(conn)
}

// scalar reads one value and compares it.
func scalar[T any](ctx context.Context, conn *pgx.Conn, expected T, sql string, args ...any) error {
	var got T
	if err := conn.QueryRow(ctx, sql, args...).Scan(&got); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return equal(got, expected)
}

func fails(err error, states ...string) error {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return fmt.Errorf("expected SQLSTATE %v, got %v", states, err)
	}
	for _, state := range states {
		if server.Code == state {
			return nil
		}
	}
	return fmt.Errorf("expected SQLSTATE %v, got %s: %s", states, server.Code, server.Message)
}

func connectScramTLS(ctx context.Context) error {
	return with(ctx, target, func(conn *pgx.Conn) error {
		if _, encrypted := conn.PgConn().Conn().(*tls.Conn); !encrypted {
			return errors.New("no TLS")
		}
		return scalar(ctx, conn, "app", "SELECT current_user")
	})
}

func wrongPasswordRefused(ctx context.Context) error {
	changed, err := url.Parse(target)
	if err != nil {
		return err
	}
	changed.User = url.UserPassword("app", "not-it")
	return fails(with(ctx, changed.String(), func(*pgx.Conn) error { return nil }), "28P01")
}

func typesBinary(ctx context.Context) error {
	return with(ctx, target, func(conn *pgx.Conn) error { return roundTrip(ctx, conn) })
}

func typesText(ctx context.Context) error {
	return with(ctx, target, func(conn *pgx.Conn) error {
		return roundTrip(ctx, conn, pgx.QueryExecModeSimpleProtocol)
	})
}

func roundTrip(ctx context.Context, conn *pgx.Conn, mode ...any) error {
	var number pgtype.Numeric
	if err := number.Scan("12345678901234567890.000000000123"); err != nil {
		return err
	}
	one, three, calm := int32(1), int32(3), "calm"
	at := time.Date(2024, 2, 29, 23, 59, 59, 123456000, time.UTC)
	bytes := []byte{0, 1, 254, 255, '\\', '\''}
	ints, moods := []*int32{&one, nil, &three}, []*string{&calm, nil}
	texts := []string{`a"b`, "c,d", "", "NULL", "é"}
	sql := `INSERT INTO types (num, bytes, at, flag, big, real8, ints, texts, doc, mood, moods, nothing)
		VALUES ($1, $2, $3, true, $4, $5, $6::int4[], $7::text[], $8, $9, $10::text[]::mood[], $11)
		RETURNING num::text, bytes, at, big, real8, ints, texts, doc, mood::text, moods::text[], nothing`
	args := append(mode, number, bytes, at, int64(-1<<63), 0.1, ints, texts,
		`{"a": [1, 2.5, null]}`, "Very Keen", moods, nil)
	var num, mood string
	var gotBytes []byte
	var gotAt time.Time
	var big int64
	var real8 float64
	var gotInts []*int32
	var gotTexts []string
	var doc map[string]any
	var gotMoods []*string
	var nothing *string
	row := conn.QueryRow(ctx, sql, args...)
	err := row.Scan(&num, &gotBytes, &gotAt, &big, &real8, &gotInts, &gotTexts, &doc, &mood, &gotMoods, &nothing)
	if err != nil {
		return err
	}
	return errors.Join(
		equal(num, "12345678901234567890.000000000123"), equal(gotBytes, bytes), equal(gotAt.Equal(at), true),
		equal(big, int64(-1<<63)), equal(real8, 0.1), equal(gotInts, ints), equal(gotTexts, texts),
		equal(doc, map[string]any{"a": []any{1.0, 2.5, nil}}), equal(mood, "Very Keen"),
		equal(gotMoods, moods), equal(nothing == nil, true),
	)
}

func everyExecutionMode(ctx context.Context) error {
	modes := []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	}
	return with(ctx, target, func(conn *pgx.Conn) error {
		for turn := int32(0); turn < 3; turn++ {
			for _, mode := range modes {
				if err := scalar(ctx, conn, turn+7, "SELECT $1::int4 - -7", mode, turn); err != nil {
					return fmt.Errorf("%s: %w", mode, err)
				}
			}
		}
		return nil
	})
}

func preparedReuse(ctx context.Context) error {
	var clients []*pgx.Conn
	for range 9 {
		conn, err := pgx.Connect(ctx, target)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		clients = append(clients, conn)
	}
	for number, conn := range clients {
		if _, err := conn.Prepare(ctx, "mine", fmt.Sprintf("SELECT $1::int8 + %d", number%3)); err != nil {
			return err
		}
	}
	for turn := range int64(4) {
		for number, conn := range clients {
			if err := scalar(ctx, conn, turn+int64(number%3), "mine", turn); err != nil {
				return err
			}
		}
	}
	return clients[0].Deallocate(ctx, "mine")
}

func transactionAndSavepoint(ctx context.Context) error {
	return with(ctx, target, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "DELETE FROM scratch"); err != nil {
			return err
		}
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "INSERT INTO scratch VALUES (1, 'kept')"); err != nil {
				return err
			}
			err := pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error {
				_, err := inner.Exec(ctx, "INSERT INTO scratch VALUES (1, 'twice')")
				return err
			})
			if err := fails(err, "23505"); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, "INSERT INTO scratch VALUES (3, 'kept')")
			return err
		})
		return errors.Join(err, scalar(ctx, conn, []int32{1, 3}, "SELECT array_agg(id ORDER BY id) FROM scratch"))
	})
}

func errorThenUsable(ctx context.Context) error {
	return with(ctx, target, func(conn *pgx.Conn) error {
		_, division := conn.Exec(ctx, "SELECT 1 / $1::int4", 0)
		_, column := conn.Exec(ctx, "SELECT nope FROM books WHERE id = $1", 1)
		return errors.Join(fails(division, "22012"), fails(column, "42703"), scalar(ctx, conn, int32(1), "SELECT 1"))
	})
}

func batch(ctx context.Context) error {
	return with(ctx, target, func(conn *pgx.Conn) error {
		queue := &pgx.Batch{}
		sum := 0
		for number := range 100 {
			queue.Queue(fmt.Sprintf("SELECT $1::int4 * %d", 1+number%5), number).QueryRow(func(row pgx.Row) error {
				var got int
				err := row.Scan(&got)
				sum += got
				return err
			})
		}
		return errors.Join(conn.SendBatch(ctx, queue).Close(), equal(sum, 15050))
	})
}

func batchErrorThenUsable(ctx context.Context) error {
	return with(ctx, target, func(conn *pgx.Conn) error {
		queue := &pgx.Batch{}
		queue.Queue("INSERT INTO scratch VALUES (777, 'undone')")
		queue.Queue("SELECT 1 / $1::int4", 0)
		queue.Queue("SELECT 2")
		err := conn.SendBatch(ctx, queue).Close()
		return errors.Join(fails(err, "22012"), scalar(ctx, conn, int64(0), "SELECT count(*) FROM scratch WHERE id = 777"))
	})
}

func pipeline(ctx context.Context) error {
	return with(ctx, target, func(conn *pgx.Conn) error {
		line := conn.PgConn().StartPipeline(ctx)
		line.SendPrepare("piped", "SELECT $1::text", nil)
		for range 3 {
			line.SendQueryPrepared("piped", [][]byte{[]byte("é")}, nil, nil)
		}
		line.SendDeallocate("piped")
		if err := line.Sync(); err != nil {
			return err
		}
		rows := 0
		for {
			results, err := line.GetResults()
			if err != nil {
				return err
			}
			if _, synced := results.(*pgconn.PipelineSync); synced || results == nil {
				break
			}
			if reader, some := results.(*pgconn.ResultReader); some {
				rows += len(reader.Read().Rows)
			}
		}
		return errors.Join(line.Close(), equal(rows, 3), scalar(ctx, conn, int32(1), "SELECT 1"))
	})
}

func copyInAndOut(ctx context.Context) error {
	return with(ctx, target, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "DELETE FROM scratch"); err != nil {
			return err
		}
		source := pgx.CopyFromSlice(20000, func(at int) ([]any, error) { return []any{at, fmt.Sprintf("row %d é\t\\", at)}, nil })
		copied, err := conn.CopyFrom(ctx, pgx.Identifier{"scratch"}, []string{"id", "body"}, source)
		if err != nil {
			return err
		}
		var out strings.Builder
		if _, err := conn.PgConn().CopyTo(ctx, &out, "COPY scratch TO STDOUT"); err != nil {
			return err
		}
		broken := io.MultiReader(strings.NewReader(strings.Repeat("x\ty\n", 5000)))
		_, failed := conn.PgConn().CopyFrom(ctx, broken, "COPY scratch FROM STDIN")
		_, err = conn.Exec(ctx, "DELETE FROM scratch")
		return errors.Join(equal(copied, int64(20000)), equal(strings.Count(out.String(), "\n"), 20000), fails(failed, "22P02"), err)
	})
}

func cancel(ctx context.Context) error {
	return with(ctx, target, func(conn *pgx.Conn) error {
		go func() {
			time.Sleep(300 * time.Millisecond)
			_ = conn.PgConn().CancelRequest(ctx)
		}()
		began := time.Now()
		_, err := conn.Exec(ctx, "SELECT pg_sleep(30)")
		return errors.Join(fails(err, "57014"), equal(time.Since(began) < 5*time.Second, true),
			scalar(ctx, conn, int32(1), "SELECT 1"))
	})
}

func settingsApart(ctx context.Context) error {
	return with(ctx, single, func(a *pgx.Conn) error {
		return with(ctx, single, func(b *pgx.Conn) error {
			_, first := a.Exec(ctx, "SET search_path = tenant_a")
			_, second := b.Exec(ctx, "SET search_path = tenant_b")
			all := errors.Join(first, second)
			for range 4 {
				all = errors.Join(all, scalar(ctx, a, "a", "SELECT owner FROM secrets"), scalar(ctx, b, "b", "SELECT owner FROM secrets"))
			}
			return all
		})
	})
}

func listenNotify(ctx context.Context) error {
	return with(ctx, target, func(listener *pgx.Conn) error {
		return with(ctx, target, func(speaker *pgx.Conn) error {
			_, first := listener.Exec(ctx, "LISTEN news")
			_, second := speaker.Exec(ctx, "SELECT pg_notify('news', 'hello')")
			if err := errors.Join(first, second); err != nil {
				return err
			}
			soon, stop := context.WithTimeout(ctx, 5*time.Second)
			defer stop()
			note, err := listener.WaitForNotification(soon)
			if err != nil {
				return err
			}
			return equal(note.Payload, "hello")
		})
	})
}

func moreClientsThanConnections(ctx context.Context) error {
	config, err := pgxpool.ParseConfig(target)
	if err != nil {
		return err
	}
	config.MaxConns = 12
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	wrong := make([]error, 12)
	var group sync.WaitGroup
	for worker := range wrong {
		group.Go(func() {
			for turn := range 30 {
				var got int
				err := pool.QueryRow(ctx, "SELECT $1::int4", worker*100+turn).Scan(&got)
				if err = errors.Join(err, equal(got, worker*100+turn)); err != nil {
					wrong[worker] = err
					return
				}
			}
		})
	}
	group.Wait()
	return errors.Join(wrong...)
}

type title struct {
	Title string `json:"title"`
}

func include(ctx context.Context) error {
	return with(ctx, target, func(conn *pgx.Conn) error {
		for range 3 {
			var books []title
			sql := "/* @include(books(order: id)) */ SELECT name FROM authors WHERE id = $1"
			var name string
			if err := conn.QueryRow(ctx, sql, 2).Scan(&name, &books); err != nil {
				return err
			}
			if err := equal(books, []title{{"Small Gods"}, {"Mort"}}); err != nil {
				return err
			}
		}
		return nil
	})
}

func includeInABatch(ctx context.Context) error {
	return with(ctx, target, func(conn *pgx.Conn) error {
		queue := &pgx.Batch{}
		var city map[string]any
		var id, one int
		queue.Queue("/* @include(publisher) */ SELECT id FROM books WHERE id = $1", 4).QueryRow(func(row pgx.Row) error {
			return row.Scan(&id, &city)
		})
		queue.Queue("SELECT 1").QueryRow(func(row pgx.Row) error { return row.Scan(&one) })
		return errors.Join(conn.SendBatch(ctx, queue).Close(), equal(city["city"], "London"), equal(one, 1))
	})
}

func includeOfNothingKnown(ctx context.Context) error {
	return with(ctx, target, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "/* @include(boks) */ SELECT id FROM authors")
		return errors.Join(fails(err, "42703", "42P01"), scalar(ctx, conn, int32(1), "SELECT 1"))
	})
}

func upsert(ctx context.Context) error {
	return with(ctx, target, func(conn *pgx.Conn) error {
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		defer tx.Rollback(ctx)
		sql := "/* @upsert(email) */ INSERT INTO authors (name, email) VALUES ($1, $2) RETURNING id"
		var first, second int32
		if err := tx.QueryRow(ctx, sql, "First", "pgx@example.org").Scan(&first); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, sql, "Second", "pgx@example.org").Scan(&second); err != nil {
			return err
		}
		return errors.Join(equal(second, first), scalar(ctx, conn, "Second", "SELECT name FROM authors WHERE id = $1", first))
	})
}
