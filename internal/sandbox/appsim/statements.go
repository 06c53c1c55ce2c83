package appsim

import (
	"fmt"

	"github.com/huanxin-platform/huanxin"
	"github.com/huanxin-platform/huanxin/agent"
)

// What a company writes into its agent's configuration (docs/agent.md): how its bindings are found and what is done to them. Whatever does
// something also says so in the table actions. No statement changes the table accounts.
const (
	// find holds back what a person must look at before it is unbound, and what a court has frozen. lends is put in.
	find = `SELECT b.id AS binding, b.account AS account, b.bound_at AS bound_at_us, b.bound_day AS bound_day, b.proof_at AS last_proof_us,
		b.proof_day AS last_proof_day, b.proof_never AS last_proof_never,
		CASE WHEN b.verified_at >= :started_at_us THEN b.verified END AS same_person,
		CASE WHEN c.legal_hold THEN 'legal_hold' WHEN c.business THEN 'business_account' WHEN c.owed AND %t THEN 'assets_held' END AS hold_back
		FROM bindings b JOIN accounts c ON c.id = b.account WHERE b.number = :number_int AND b.detached_at IS NULL`

	suspendKey = `UPDATE bindings SET stopped_at = :now_us, stopped_by = :task WHERE id = :binding AND stopped_at IS NULL AND detached_at IS NULL`
	resumeKey  = `UPDATE bindings SET stopped_at = NULL, stopped_by = NULL WHERE id = :binding AND stopped_by = :task`
	unbind     = `UPDATE bindings SET is_login_key = 0, is_recovery = 0, is_second_factor = 0, notify = 0, discoverable = 0, stopped_at = NULL,
		stopped_by = NULL, detached_at = :now_us, detached_by = :task, restore_token = :token, restore_until = :restore_until_us
		WHERE id = :binding AND detached_at IS NULL`
	// restore leaves ended sessions ended.
	restore = `UPDATE bindings SET is_login_key = 1, is_recovery = 1, is_second_factor = 1, notify = 1, discoverable = 1, detached_at = NULL,
		detached_by = NULL, restore_token = NULL, restore_until = NULL WHERE id = :binding AND restore_token = :token AND restore_until > :now_us`
	endSessions = `UPDATE sessions SET ended_at = :now_us, ended_by = :task
		WHERE account = :account AND through_number = :number_int AND started_at >= :started_at_us AND ended_at IS NULL`
	tellOwner = `INSERT INTO notices (account, channel, task, about, at) SELECT id, 'other_contact', :task, 'unbound', :now_us FROM accounts
		WHERE id = :account AND other_contact`

	findMark   = `SELECT id AS binding, since AS bound_at_us, CASE WHEN grave THEN 'restricted_number' END AS hold_back FROM %s WHERE number = :number_int AND removed_at IS NULL`
	removeMark = `UPDATE %s SET removed_at = :now_us, removed_by = :task WHERE id = :binding AND removed_at IS NULL`
)

// deed is a statement and the note of it.
func deed(text, what string) agent.Statements {
	column := "binding"
	if what == "removed" {
		column = "mark"
	}
	return agent.Statements{{SQL: text}, {SQL: `INSERT INTO actions (task, ` + column + `, what, started_at, at) VALUES (:task, :binding, '` + what +
		`', :started_at_us, :now_us)`}}
}

// statements are those of the app. At one of high value the number stops being a key first.
func (a *App) statements() *agent.SQLConfig {
	lends := a.Spec.Class == "lending" || a.Spec.Class == "payment"
	s := &agent.SQLConfig{Driver: "sqlite", DSN: a.path, Find: fmt.Sprintf(find, lends), Unbind: deed(unbind, "unbound"), Restore: deed(restore, "restored"),
		EndSessions: agent.Statements{{SQL: endSessions}}, Notify: agent.Statements{{SQL: tellOwner}}}
	if a.highValue {
		s.Suspend, s.Resume = deed(suspendKey, "key_stopped"), deed(resumeKey, "key_lifted")
	}
	for kind, to := range map[huanxin.TaskKind]**agent.MarkConfig{huanxin.StopContact: &s.StopContact, huanxin.ClearLabel: &s.ClearLabel,
		huanxin.LiftRestriction: &s.LiftRestriction} {
		table := markTables[kind]
		*to = &agent.MarkConfig{Find: fmt.Sprintf(findMark, table), Remove: deed(fmt.Sprintf(removeMark, table), "removed")}
	}
	return s
}
