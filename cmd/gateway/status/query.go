// This file selects shards of the document: in an order, and not all of them.

package status

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Query says which shards the document lists. The zero value is all, by their ids.
type Query struct {
	Sort       string // one of Orders; empty: by id
	Descending bool
	Unready    bool // those that are neither ready nor resuming
	Offset     int  // so many of them are left out at the beginning
	Limit      int  // and at most so many are listed; 0: all
}

// orders are what shards can be sorted by. What is equal is in the order of the ids.
var orders = map[string]func(a, b *Shard) int{
	"id":         func(a, b *Shard) int { return cmp.Compare(a.ID, b.ID) },
	"state":      func(a, b *Shard) int { return cmp.Compare(a.State, b.State) },
	"since":      func(a, b *Shard) int { return cmp.Compare(a.Since, b.Since) },
	"events":     func(a, b *Shard) int { return cmp.Compare(a.Events, b.Events) },
	"rate":       func(a, b *Shard) int { return cmp.Compare(a.Rate, b.Rate) },
	"last_event": func(a, b *Shard) int { return cmp.Compare(a.LastEvent, b.LastEvent) },
	"last_ack":   func(a, b *Shard) int { return cmp.Compare(a.LastACK, b.LastACK) },
	"round_trip": func(a, b *Shard) int { return cmp.Compare(a.RoundTrip, b.RoundTrip) },
	"reconnects": func(a, b *Shard) int { return cmp.Compare(a.Reconnects, b.Reconnects) },
	"pending":    func(a, b *Shard) int { return cmp.Compare(a.Pending, b.Pending) },
}

// Orders are the values of Query.Sort.
func Orders() []string {
	return []string{"id", "state", "since", "events", "rate", "last_event", "last_ack", "round_trip", "reconnects", "pending"}
}

// ParseQuery reads the parameters of a request for the document: sort (descending with a - before
// it), unready, offset and limit. The error names the one that is wrong.
func ParseQuery(q url.Values) (Query, error) {
	var out Query
	for name := range q {
		value := q.Get(name)
		var err error
		switch name {
		case "sort":
			out.Sort, out.Descending = strings.CutPrefix(value, "-")
			if orders[out.Sort] == nil {
				err = fmt.Errorf("sort: %.40q is none of %s", value, strings.Join(Orders(), ", "))
			}
		case "unready":
			if out.Unready, err = strconv.ParseBool(value); err != nil {
				err = fmt.Errorf("unready: %.40q is neither true nor false", value)
			}
		case "offset", "limit":
			n, e := strconv.Atoi(value)
			if e != nil || n < 0 {
				err = fmt.Errorf("%s: %.40q is not a number of shards", name, value)
			}
			if name == "offset" {
				out.Offset = n
			} else {
				out.Limit = n
			}
		default:
			err = fmt.Errorf("%.40q is no parameter; there are sort, unready, offset and limit", name)
		}
		if err != nil {
			return Query{}, err
		}
	}
	return out, nil
}

// Values returns the parameters that ParseQuery reads as q.
func (q Query) Values() url.Values {
	v := url.Values{}
	if q.Sort != "" {
		sort := q.Sort
		if q.Descending {
			sort = "-" + sort
		}
		v.Set("sort", sort)
	}
	if q.Unready {
		v.Set("unready", "true")
	}
	if q.Offset > 0 {
		v.Set("offset", strconv.Itoa(q.Offset))
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

// Select returns the shards that q asks for, of list, which is in the order of the ids and is
// changed, and how many there would be without Offset and Limit.
func (q Query) Select(list []Shard) (selected []Shard, of int) {
	if q.Unready {
		list = slices.DeleteFunc(list, func(s Shard) bool { return s.State == "ready" || s.State == "resuming" })
	}
	if order := orders[q.Sort]; order != nil && (q.Sort != "id" || q.Descending) {
		slices.SortStableFunc(list, func(a, b Shard) int {
			if q.Descending {
				return order(&b, &a)
			}
			return order(&a, &b)
		})
	}
	of = len(list)
	list = list[min(q.Offset, of):]
	if q.Limit > 0 {
		list = list[:min(q.Limit, len(list))]
	}
	return list, of
}
