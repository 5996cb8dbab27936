package wire

// For tests that import what imports this package.

func ValidLen(b []byte) int { return validLen(b) }
func ScanLen(b []byte) int  { return scanLen(b) }
func PlainLen(b []byte) int { return plainDepthLen(b, maxDepth) }
