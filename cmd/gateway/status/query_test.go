package status

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestSelect(t *testing.T) {
	list := []Shard{
		{ID: 0, State: "ready", Rate: 5, Reconnects: 1},
		{ID: 1, State: "backoff", Rate: 7},
		{ID: 2, State: "resuming", Rate: 5, Reconnects: 3},
		{ID: 3, State: "hello", Rate: 9},
	}
	for _, test := range []struct{ query, want string }{
		{"", "[0 1 2 3] of 4"},
		{"sort=rate", "[0 2 1 3] of 4"},
		{"sort=-rate", "[3 1 0 2] of 4"},
		{"sort=-id", "[3 2 1 0] of 4"},
		{"sort=-reconnects&limit=2", "[2 0] of 4"},
		{"unready=true", "[1 3] of 2"},
		{"unready=1&sort=-rate&limit=1", "[3] of 2"},
		{"offset=1&limit=2", "[1 2] of 4"},
		{"offset=9", "[] of 4"},
	} {
		v, _ := url.ParseQuery(test.query)
		q, err := ParseQuery(v)
		if err != nil {
			t.Fatal(err)
		}
		selected, of := q.Select(slices.Clone(list))
		ids := []int{}
		for _, s := range selected {
			ids = append(ids, s.ID)
		}
		if got := fmt.Sprintf("%v of %d", ids, of); got != test.want {
			t.Errorf("%q: %s, want %s", test.query, got, test.want)
		}
		if again, err := ParseQuery(q.Values()); err != nil || again != q {
			t.Errorf("%q: %+v read again is %+v: %v", test.query, q, again, err)
		}
	}
}

func TestOrders(t *testing.T) {
	for _, name := range Orders() {
		if orders[name] == nil {
			t.Errorf("%s has no order", name)
		}
	}
	if len(orders) != len(Orders()) {
		t.Error("an order is not named")
	}
}

func TestParseQueryRefuses(t *testing.T) {
	for query, want := range map[string]string{
		"sort=size": "round_trip", "unready=perhaps": "unready", "limit=-1": "limit", "offset=x": "offset", "shard=1": "shard",
	} {
		v, _ := url.ParseQuery(query)
		if _, err := ParseQuery(v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", query, err)
		}
	}
}
