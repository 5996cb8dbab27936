// This file writes counts for people.

package status

import "strconv"

// Count returns a count with its thousands apart, 1,200, as every text for people has them.
func Count[N int | int64](n N) string {
	text := strconv.FormatInt(int64(n), 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
