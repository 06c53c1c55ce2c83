package sandbox
import ("testing";"context";"log/slog";"io";"time";"github.com/huanxin-platform/huanxin";"github.com/huanxin-platform/huanxin/internal/server";"github.com/huanxin-platform/huanxin/internal/core";"github.com/huanxin-platform/huanxin/internal/sandbox/catalogue")
func TestZ(t *testing.T){
 cfg:=server.DefaultConfig(); cfg.Data=t.TempDir(); cfg.Listen="127.0.0.1:0"
 h,c,err:=server.OpenHub(context.Background(),cfg,slog.New(slog.NewTextHandler(io.Discard,nil)))
 if err!=nil{t.Fatal(err)}
 defer c()
 s:=time.Now()
 for _,a:=range catalogue.Apps(){
  if err:=h.PutParty(context.Background(),core.Operator(),huanxin.Party{ID:a.ID,Kind:huanxin.AppParty,NameZh:a.NameZh,NameEn:a.NameEn,Class:a.Class,Kinds:a.Kinds,Domains:[]string{a.Domain()}},true);err!=nil{t.Fatal(err)}
  if _,err:=h.AddClient(context.Background(),core.Operator(),core.NewClient{ID:a.ID,Party:a.ID,Secret:true});err!=nil{t.Fatal(err)}
 }
 t.Log(time.Since(s))
 for i:=0;i<3000;i++{ s:=tellStory(1,i,plotOf(i),time.Now()); ss,err:=huanxin.Replay(s.Events,0,func(huanxin.PartyNo)time.Duration{return 90*24*time.Hour}); if err!=nil{t.Fatal(s.Plot,err)}; tn,held:=s.Now(); if held!=ss.Held()||held&&(!tn.From.Equal(ss.StartedAt)||tn.Origin!=ss.Origin){t.Fatal(s.Plot,i,held,tn,ss)}}
}
