package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/bulwark-edge/bulwark/store"
)

// accountLease is how long another node may take to make an account, and
// accountWait how long it is waited for between two looks.
const (
	accountLease = 2 * time.Minute
	accountWait  = 200 * time.Millisecond
)

// storedAccount is an account as it stands in its record.
type storedAccount struct {
	Directory string   `json:"directory"`
	Location  string   `json:"location"`
	Contact   []string `json:"contact,omitempty"`
	Key       string   `json:"key"`
}

func accountKey(s *session, email string) string {
	if email == "" {
		email = "nobody"
	}
	return prefixAccounts + s.id() + "/" + email
}

// account returns the account for an e-mail address, which is made if there is
// none yet: one for all nodes.
func account(ctx context.Context, records store.Records, s *session, email string) (acme.Account, error) {
	key := accountKey(s, email)
	for {
		a, err := loadAccount(ctx, records, key)
		if err == nil || !errors.Is(err, store.ErrNotFound) {
			return a, err
		}
		lease, err := records.Lease(ctx, key, accountLease)
		switch {
		case err == nil:
			a, err = makeAccount(ctx, records, s, email, lease)
			return a, errors.Join(err, lease.Release(context.WithoutCancel(ctx)))
		case !errors.Is(err, store.ErrHeld):
			return acme.Account{}, err
		}
		select {
		case <-time.After(accountWait):
		case <-ctx.Done():
			return acme.Account{}, ctx.Err()
		}
	}
}

func loadAccount(ctx context.Context, records store.Records, key string) (acme.Account, error) {
	rec, err := records.Get(ctx, key)
	if err != nil {
		return acme.Account{}, err
	}
	var stored storedAccount
	if err := json.Unmarshal(rec.Value, &stored); err != nil {
		return acme.Account{}, fmt.Errorf("reading %q: %w", key, store.ErrDamaged)
	}
	signer, err := decodeKey(stored.Key)
	if err != nil {
		return acme.Account{}, fmt.Errorf("reading %q: %w", key, err)
	}
	return acme.Account{Status: acme.StatusValid, Contact: stored.Contact, Location: stored.Location, PrivateKey: signer}, nil
}

// makeAccount registers an account under a lease of its key.
func makeAccount(ctx context.Context, records store.Records, s *session, email string, lease store.Lease) (acme.Account, error) {
	key := accountKey(s, email)
	if a, err := loadAccount(ctx, records, key); err == nil {
		return a, nil // another node was faster
	}
	signer, err := P256.make()
	if err != nil {
		return acme.Account{}, fmt.Errorf("making the key of an account: %w", err)
	}
	a := acme.Account{TermsOfServiceAgreed: true, PrivateKey: signer}
	if email != "" {
		a.Contact = []string{"mailto:" + email}
	}
	if s.EABKeyID != "" {
		if err := a.SetExternalAccountBinding(ctx, s.client, acme.EAB{KeyID: s.EABKeyID, MACKey: s.EABKey}); err != nil {
			return acme.Account{}, fmt.Errorf("binding the account to an external one: %w", err)
		}
	}
	if a, err = s.client.NewAccount(ctx, a); err != nil {
		return acme.Account{}, fmt.Errorf("making an account: %w", err)
	}
	if a.Status != acme.StatusValid || a.Location == "" {
		return acme.Account{}, fmt.Errorf("making an account: %w", errNoAccount)
	}
	stored := storedAccount{Directory: s.Directory, Location: a.Location, Contact: a.Contact}
	if stored.Key, err = encodeKey(signer); err != nil {
		return acme.Account{}, err
	}
	value, err := json.Marshal(stored)
	if err != nil {
		return acme.Account{}, fmt.Errorf("encoding an account: %w", err)
	}
	if _, err := replace(ctx, records, store.Record{Key: key, Value: value, Fence: lease.Fence()}); err != nil {
		return acme.Account{}, fmt.Errorf("storing an account: %w", err)
	}
	return a, nil
}

var errNoAccount = errors.New("the authority does not say that it is valid")
