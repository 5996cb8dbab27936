// This file answers the REST calls whose path holds a token, so that they need
// no Authorization: interaction callbacks and webhooks.

package sim

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// byToken answers a call that is authorized by its path, and reports whether it
// is one. Such calls are not counted in the bot's limit.
func (srv *Server) byToken(w http.ResponseWriter, r *http.Request, path string) bool {
	part := strings.Split(strings.TrimPrefix(path, "/"), "/")
	switch {
	case len(part) == 4 && part[0] == "interactions" && part[3] == "callback" && r.Method == http.MethodPost:
		if r.URL.Query().Get("with_response") != "true" {
			w.WriteHeader(http.StatusNoContent)
			return true
		}
		writeJSON(w, http.StatusOK, fmt.Sprintf(`{"interaction":{"id":%s,"type":2,"response_message_id":"%d",`+
			`"response_message_loading":false,"response_message_ephemeral":false},"resource":{"type":4,"message":%s}}`,
			quoted(part[1]), messageID, webhookMessage(part[1])))
		return true
	case len(part) < 3 || part[0] != "webhooks":
		return false
	}
	switch id, method := part[1], r.Method; {
	case len(part) == 3 && method == http.MethodPost:
		// The follow-up of an interaction is always answered by the message.
		if id != fmt.Sprint(uint64(botID)) && r.URL.Query().Get("wait") != "true" {
			w.WriteHeader(http.StatusNoContent)
			return true
		}
		writeJSON(w, http.StatusOK, webhookMessage(id))
	case len(part) == 3 && (method == http.MethodGet || method == http.MethodPatch):
		writeJSON(w, http.StatusOK, fmt.Sprintf(`{"type":1,"token":%s,"name":"Webhook","id":%s,"guild_id":"%d","channel_id":"%d",`+
			`"avatar":null,"application_id":null}`, quoted(part[2]), quoted(id), guildID(0), channelID(0, 0)))
	case len(part) == 5 && part[3] == "messages" && (method == http.MethodGet || method == http.MethodPatch):
		writeJSON(w, http.StatusOK, webhookMessage(id))
	case (len(part) == 3 || len(part) == 5 && part[3] == "messages") && method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	default:
		jsonError(w, http.StatusNotFound, "404: Not Found")
	}
	return true
}

// messageID is the id of every message that a webhook sends.
const messageID = 190_000_000_000 << 22

// webhookMessage returns a message sent by a webhook, as JSON. Nothing is kept
// of what a bot writes.
func webhookMessage(webhook string) string {
	id := quoted(webhook)
	return fmt.Sprintf(`{"webhook_id":%s,"type":0,"tts":false,"timestamp":%q,"pinned":false,"mentions":[],"mention_roles":[],`+
		`"mention_everyone":false,"id":"%d","flags":0,"embeds":[],"edited_timestamp":null,"content":"","components":[],`+
		`"channel_id":"%d","author":{"username":%q,"public_flags":0,"id":%s,"global_name":null,"discriminator":%q,"bot":true,"avatar":null},`+
		`"attachments":[],"application_id":"%d"}`,
		id, time.Now().UTC().Format("2006-01-02T15:04:05.000000+00:00"), uint64(messageID), channelID(0, 0), botName, id, botDiscriminator, uint64(botID))
}

// quoted returns any string as JSON.
func quoted(s string) string {
	w := jsonWriter{}
	w.quoted("", s)
	return string(w.b)
}
