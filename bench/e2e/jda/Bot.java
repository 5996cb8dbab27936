// A bot on JDA that writes the shard, seq and type of each event as a line of JSON,
// and ends with its standard input: java -cp LIBRARIES Bot.java API GATEWAY TOKEN COMPRESSION

import com.neovisionaries.ws.client.WebSocketFactory;
import java.io.FileInputStream;
import java.io.InputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.EnumSet;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;
import net.dv8tion.jda.api.events.RawGatewayEvent;
import net.dv8tion.jda.api.hooks.ListenerAdapter;
import net.dv8tion.jda.api.requests.GatewayIntent;
import net.dv8tion.jda.api.requests.RestConfig;
import net.dv8tion.jda.api.sharding.DefaultShardManagerBuilder;
import net.dv8tion.jda.api.utils.Compression;
import okhttp3.OkHttpClient;

public class Bot extends ListenerAdapter {
    @Override
    public void onRawGateway(RawGatewayEvent event) {
        System.out.println("{\"shard\":" + event.getJDA().getShardInfo().getShardId()
            + ",\"seq\":" + event.getPackage().getLong("s") + ",\"type\":\"" + event.getType() + "\"}");
    }

    public static void main(String[] args) throws Exception {
        String api = args[0], token = args[2], compression = args[3];
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        KeyStore keys = KeyStore.getInstance(KeyStore.getDefaultType());
        keys.load(null, null);
        try (InputStream in = new FileInputStream(System.getenv("FOREIGN_CA"))) {
            keys.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        trust.init(keys);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        DefaultShardManagerBuilder.create(token, EnumSet.allOf(GatewayIntent.class))
            .setShardsTotal(2)
            .setRestConfig(new RestConfig().setBaseUrl(api + "/"))
            .setHttpClientBuilder(new OkHttpClient.Builder()
                .sslSocketFactory(context.getSocketFactory(), (X509TrustManager) trust.getTrustManagers()[0]))
            .setWebsocketFactory(new WebSocketFactory().setSSLContext(context))
            .setCompression(compression.equals("none") ? Compression.NONE : Compression.ZLIB)
            .setRawEventsEnabled(true)
            .addEventListeners(new Bot())
            .build();
        while (System.in.read() >= 0) {
        }
        System.exit(0);
    }
}
