import dev.fathom.*;
import java.nio.file.Path;

public class Chat {
    public static void main(String[] arguments) {
        try (Engine engine = Engine.create();
                Model model = engine.load(Path.of(arguments[0]));
                Tokenizer tokenizer = model.tokenizer();
                Prompt prompt = new Prompt(tokenizer).user(arguments[1]);
                Session session = model.newSession();
                EventStream stream = session.generate(prompt)) {
            stream.text().forEach(System.out::print);
        }
    }
}
