// What the checks share: clients, empty collections, expected errors.
package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func equal(got, expected any) error {
	if !reflect.DeepEqual(got, expected) {
		return fmt.Errorf("expected %v, got %v", expected, got)
	}
	return nil
}

// with hands a client to use and disconnects it afterwards.
func with(ctx context.Context, address string, settings *options.ClientOptions, use func(*mongo.Client) error) error {
	base := options.Client().ApplyURI(address).SetServerSelectionTimeout(10 * time.Second)
	client, err := mongo.Connect(base, settings)
	if err != nil {
		return err
	}
	defer client.Disconnect(ctx)
	return use(client)
}

// inside is as with, for the suite's user and an empty collection.
func inside(ctx context.Context, name string, use func(*mongo.Client, *mongo.Collection) error) error {
	return with(ctx, target, options.Client(), func(client *mongo.Client) error {
		collection := client.Database(database).Collection(name)
		if err := collection.Drop(ctx); err != nil {
			return err
		}
		return use(client, collection)
	})
}

func fails(err error, code int) error {
	var server mongo.ServerError
	if !errors.As(err, &server) {
		return fmt.Errorf("expected code %d, got %v", code, err)
	}
	if !server.HasErrorCode(code) {
		return fmt.Errorf("expected code %d, got %v", code, server)
	}
	return nil
}

func numbers(count int) []any {
	documents := make([]any, count)
	for at := range documents {
		documents[at] = bson.D{{Key: "_id", Value: int32(at)}}
	}
	return documents
}

func ping(ctx context.Context) func(*mongo.Client) error {
	return func(client *mongo.Client) error { return client.Ping(ctx, nil) }
}
