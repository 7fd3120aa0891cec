// orders.go - from the bytes of an event to those of its output, with Go's own encoding/json.
//
// Two ways: maps, for events whose shape is not known when the program is built, and structs for those of which it is.
package main

import (
	"encoding/json"
	"fmt"
)

type form func(value []byte) []byte

var forms = map[string]form{"map": transformMap, "struct": transformStruct}

type order struct {
	ID         string `json:"id"`
	Type       string `json:"type"`
	Version    string `json:"version"`
	OccurredAt string `json:"occurredAt"`
	Data       struct {
		OrderID    string  `json:"orderId"`
		CustomerID string  `json:"customerId"`
		MachineID  string  `json:"machineId"`
		Currency   string  `json:"currency"`
		Total      float64 `json:"total"`
		Items      []struct {
			SKU      string `json:"sku"`
			Quantity int    `json:"quantity"`
		} `json:"items"`
		Note string `json:"note"`
	} `json:"data"`
}

type answer struct {
	ID       string  `json:"id"`
	Order    string  `json:"order"`
	Customer string  `json:"customer"`
	Status   string  `json:"status"`
	Amount   float64 `json:"amount"`
}

type route struct {
	status string
	sign   float64
}

var routes = map[string]route{
	"order.created":   {"accepted", 1},
	"order.paid":      {"settled", 1},
	"order.shipped":   {"closed", 1},
	"order.cancelled": {"refunded", -1},
}

func routeOf(kind string) route {
	to, known := routes[kind]
	if !known {
		die("an event", fmt.Errorf("unknown type %q", kind))
	}
	return to
}

func encode(output any) []byte {
	text, err := json.Marshal(output)
	if err != nil {
		die("an output", err)
	}
	return text
}

func transformMap(value []byte) []byte {
	var in map[string]any
	if err := json.Unmarshal(value, &in); err != nil {
		die("an event", err)
	}
	kind, _ := in["type"].(string)
	data, _ := in["data"].(map[string]any)
	total, isNumber := data["total"].(float64)
	if !isNumber {
		die("an event", fmt.Errorf("no total"))
	}
	to := routeOf(kind)
	return encode(map[string]any{
		"id": in["id"], "order": data["orderId"], "customer": data["customerId"],
		"status": to.status, "amount": to.sign * total,
	})
}

func transformStruct(value []byte) []byte {
	var in order
	if err := json.Unmarshal(value, &in); err != nil {
		die("an event", err)
	}
	to := routeOf(in.Type)
	return encode(answer{in.ID, in.Data.OrderID, in.Data.CustomerID, to.status, to.sign * in.Data.Total})
}
